/**
 * The way of a long body around Node's HTTP parser, which copies all that it finds in small pieces. The parser gets the
 * head and what came along with it; the rest of what `Content-Length` said goes on as it is read, through one buffer.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { OnReadOpts, Socket } from 'node:net';
import { BUFFER_BYTES, createRelay, type Relay } from './pump.ts';

/** The connection is not used again, and for a shorter body a new one would cost more than this saves. */
const MIN_BYTES = 1024 * 1024;

/** Of connections whose answer may go straight: asked at each read whether it does from now on. */
const offers = new WeakMap<Socket, () => Relay | undefined>();

/** Dials a connection for Node's HTTP client. */
export function dialStraight(dial: (onread: OnReadOpts) => Socket): Socket {
  let relay: Relay | undefined;
  const socket = dial({
    buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES),
    callback(bytes, buffer) {
      const part = buffer.subarray(0, bytes);
      relay ??= socket.readableLength === 0 ? offers.get(socket)?.() : undefined;
      // A stream may keep what it is given, and there is one buffer.
      return relay ? relay(part) : socket.push(Buffer.from(part));
    },
  });
  return socket;
}

/** Of an answer that `passBody` passes on as it is, and whose bytes are counted in `seen`: the rest goes straight. */
export function offerStraight(
  reply: IncomingMessage,
  response: ServerResponse,
  seen: { receivedBytes: number },
): void {
  const { socket, headers } = reply;
  const length = Number(headers['content-length'] ?? 0);
  if (length < MIN_BYTES || headers['transfer-encoding'] !== undefined) return;
  offers.set(socket, () => {
    // Whatever the parser found is on its way, in the answer that is its client's turn.
    const caughtUp = reply.readableFlowing && reply.readableLength === 0 && !response.writableNeedDrain;
    if (!caughtUp || reply.complete || !response.socket) return undefined;
    return relayRest(socket, response.socket, length - seen.receivedBytes);
  });

  function relayRest(from: Socket, to: Socket, rest: number): Relay {
    let left = rest;
    const relay = createRelay(to, () => (left > 0 ? from : undefined));
    return (part) => {
      // What a server says beyond that is nobody's.
      const own = part.subarray(0, left);
      left -= own.length;
      seen.receivedBytes += own.length;
      const goOn = relay(own);
      if (left > 0) return goOn;
      response.end();
      return false;
    };
  }
}
