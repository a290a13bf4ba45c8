/**
 * The runner's end of one bridge: JSON-RPC lines over the sandbox's socketpair, with messages cut out unparsed. Knows
 * the wire, not what a sandbox is. Whatever is wrong on the wire ends it with a ProtocolViolation.
 */
import type { Duplex } from 'node:stream';
import { AtollError } from '@atoll/protocol/errors';
import { createPeer, RpcError } from '@atoll/protocol/json-rpc';
import { createLineBlocks, LineTooLong } from '@atoll/protocol/lines';
import type { Messages } from '@atoll/protocol/runner-link';
import { type Cut, cutBlock, ProtocolViolation } from './bridge-lines.ts';

/** The one thing that a bridge may ask of its runner. */
const APPROVAL = 'approval.request';

export type Bridge = {
  call(method: string, params: Record<string, unknown>): Promise<unknown>;
  /** Stops and goes on reading, for backpressure. */
  pause(): void;
  resume(): void;
  close(reason: Error): void;
};

export type BridgeOptions = {
  channel: Duplex;
  onMessages: (messages: Messages) => void;
  onNotification: (method: string, params: Record<string, unknown>) => void;
  /** Rejects when the bridge may not ask that. */
  onApproval: (params: Record<string, unknown>) => Promise<unknown>;
  /** The channel ended (undefined), or was refused. Told once. */
  onClose: (violation: ProtocolViolation | undefined) => void;
};

export function createBridge(options: BridgeOptions): Bridge {
  const { channel, onMessages, onNotification, onApproval, onClose } = options;
  const blocks = createLineBlocks();
  let closed = false;
  const peer = createPeer({
    channel: { send: (text) => write(channel, `${text}\n`) },
    handlers: { [APPROVAL]: approve },
    onNotification,
  });

  function closeWith(violation: ProtocolViolation | undefined): void {
    if (closed) return;
    closed = true;
    channel.off('data', onData);
    peer.close(violation ?? new Error('the bridge is gone'));
    onClose(violation);
  }

  async function approve(params: Record<string, unknown>): Promise<unknown> {
    try {
      return await onApproval(params);
    } catch (error) {
      closeWith(toViolation(error));
      throw error;
    }
  }

  function onData(chunk: Uint8Array): void {
    try {
      for (const block of blocks.push(chunk)) for (const cut of cutBlock(block)) take(cut);
    } catch (error) {
      closeWith(toViolation(error));
    }
  }

  function take(cut: Cut): void {
    if (closed) return;
    if (cut.kind === 'messages') onMessages(cut.messages);
    else peer.receive(refuseOtherRequests(parseControl(cut.text)));
  }

  channel.on('data', onData);
  channel.on('end', () => closeWith(undefined));
  channel.on('close', () => closeWith(undefined));
  // ECONNRESET and EPIPE: the other side is gone, which `close` tells.
  channel.on('error', () => closeWith(undefined));

  return {
    call: (method, params) => peer.call(method, params),
    pause: () => channel.pause(),
    resume: () => channel.resume(),
    close(reason) {
      if (closed) return;
      closed = true;
      peer.close(reason);
      channel.destroy();
    },
  };
}

function write(channel: Duplex, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    channel.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

function parseControl(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ProtocolViolation(`the bridge wrote a line that is not JSON: ${text.slice(0, 80)}`);
  }
}

/** Of approvals only so many can wait; a reply to each of a flood of other requests would be work without a bound. */
function refuseOtherRequests(message: unknown): unknown {
  if (typeof message !== 'object' || message === null || !('id' in message && 'method' in message))
    return message;
  if (message.method === APPROVAL) return message;
  throw new ProtocolViolation(`the bridge sent a request, and the runner takes none but ${APPROVAL}`);
}

function toViolation(error: unknown): ProtocolViolation {
  if (error instanceof ProtocolViolation) return error;
  if (error instanceof LineTooLong)
    return new ProtocolViolation(`the bridge wrote too much: ${error.message}`);
  if (error instanceof AtollError)
    return new ProtocolViolation(`the bridge sent something malformed: ${error.detail}`);
  if (error instanceof RpcError) return new ProtocolViolation(`the bridge broke JSON-RPC: ${error.message}`);
  throw error;
}
