/**
 * JSON-RPC lines between the bridge and its runner over one socket (protocols §1). Everything that leaves the
 * bridge leaves here, and waits here: what the runner does not read stays in the executor (I9).
 */
import type { Socket } from 'node:net';
import { createPeer, type Handler, type Peer } from '@atoll/protocol/json-rpc';
import { createLineBlocks, linesOf } from '@atoll/protocol/lines';

/** What may wait in this process for the socket. More than one read of a pipe, so that a fast program is not stopped at every block. */
const MAX_WAITING_BYTES = 256 * 1024;

export type Connection = {
  readonly peer: Peer;
  /** Sends bytes as they are; a promise when the caller must wait before it sends more. */
  write(text: string, encoding: 'utf8' | 'latin1'): Promise<void> | undefined;
  /** Settles when all that was written has left this process. */
  finish(): Promise<void>;
};

export type ConnectionOptions = {
  socket: Socket;
  handlers: Readonly<Record<string, Handler>>;
  onNotification?: (method: string, params: Record<string, unknown>) => void;
  /** The socket ended or broke, or the runner's lines cannot be read: the bridge has nobody to work for. */
  onEnd: (reason: Error) => void;
};

export function openConnection({ socket, handlers, onNotification, onEnd }: ConnectionOptions): Connection {
  let drained: PromiseWithResolvers<void> | undefined;
  const write = (text: string, encoding: 'utf8' | 'latin1') => {
    // What is written in one tick leaves in one piece: a turn's last messages together with its answer.
    if (socket.writableCorked === 0) {
      socket.cork();
      setImmediate(() => socket.uncork());
    }
    socket.write(text, encoding);
    if (socket.writableLength < MAX_WAITING_BYTES) return undefined;
    drained ??= Promise.withResolvers<void>();
    return drained.promise;
  };
  socket.on('drain', () => {
    drained?.resolve();
    drained = undefined;
  });

  const channel = { send: (text: string) => write(`${text}\n`, 'utf8') ?? Promise.resolve() };
  const peer = createPeer({ channel, handlers, ...(onNotification && { onNotification }) });
  let ended = false;
  const end = (reason: Error) => {
    if (ended) return;
    ended = true;
    peer.close(reason);
    onEnd(reason);
  };

  const receive = createReceiver(peer);
  socket.on('data', (chunk: Buffer) => {
    try {
      receive(chunk);
    } catch (error) {
      end(new Error('the runner sent a line that is not JSON-RPC', { cause: error }));
    }
  });
  socket.once('error', end);
  socket.once('end', () => end(new Error('the runner closed the connection')));
  socket.once('close', () => end(new Error('the connection is closed')));
  return { peer, write, finish: () => new Promise((resolve) => socket.end(() => resolve())) };
}

function createReceiver(peer: Peer): (chunk: Uint8Array) => void {
  const blocks = createLineBlocks();
  const decoder = new TextDecoder('utf-8', { fatal: true });
  return (chunk) => {
    for (const block of blocks.push(chunk))
      for (const line of linesOf(block)) peer.receive(JSON.parse(decoder.decode(line)));
  };
}
