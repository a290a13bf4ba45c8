/**
 * A listening socket that a sandbox hands out of its network namespace: to such a namespace a listener belongs by where
 * it was made, whoever holds it. It comes over the channel of Node's IPC, which the sandbox's command was started with.
 *
 * Node's own end of such a channel is for children that one trusts: it parses what comes, as long as it is, and throws
 * where nobody can catch it. So it never gets anything to read: one read is taken here, of which only the descriptor
 * counts, and the channel is closed (I9, I11).
 */
import type { ChildProcess } from 'node:child_process';
import { AtollError } from '@atoll/protocol/errors';

/** From when it is asked for; a machine may be slow. */
const HANDED_MS = 60_000;
/** A sandbox that ended closed its channel, too, and its exit says why. */
const CLOSED_MS = 1000;

/** Of Node's: the channel's handle, read from as Node's own modules do. */
type Channel = { onread: (bytes: ArrayBuffer | undefined) => void; pendingHandle?: unknown };
type Listener = { listen: unknown; close(): void };

export type HandedListener = {
  /** What comes, for `net.Server.listen`; rejects when it is something else, or nothing. */
  take(): Promise<object>;
  /** Nothing is to come. */
  close(): void;
};

/** Undefined where this Node keeps the channel elsewhere. Call it in the tick in which the child was started. */
export function takeListener(child: ChildProcess): HandedListener | undefined {
  const channel = channelOf(child);
  if (!channel) {
    if (child.connected) child.disconnect();
    return undefined;
  }
  const { promise: listener, resolve, reject } = Promise.withResolvers<object>();
  // One that nobody asked for is nobody's loss.
  listener.catch(() => undefined);
  let late: NodeJS.Timeout | undefined;

  function close(): void {
    clearTimeout(late);
    if (child.connected) child.disconnect();
  }

  function refuse(what: string): void {
    close();
    reject(new AtollError('sandbox_failed', `the sandbox handed over ${what} in place of a listener`));
  }

  channel.onread = (bytes) => {
    const { pendingHandle: handle } = channel;
    channel.pendingHandle = null;
    if (!child.connected) closeHandle(handle);
    else if (isListener(handle)) {
      // What the other end waits for before it takes its channel for closed.
      child.send({ cmd: 'NODE_HANDLE_ACK' }, () => undefined);
      close();
      resolve(handle);
    } else if (bytes === undefined) {
      close();
      setTimeout(refuse, CLOSED_MS, 'nothing').unref();
    } else {
      closeHandle(handle);
      refuse('something else');
    }
  };
  return {
    take() {
      late = setTimeout(refuse, HANDED_MS, 'nothing').unref();
      return listener;
    },
    close,
  };
}

function channelOf(child: ChildProcess): Channel | undefined {
  const name = Object.getOwnPropertySymbols(child).find(
    ({ description }) => description === 'kChannelHandle',
  );
  const channel: unknown = name && Reflect.get(child, name);
  return isChannel(channel) ? channel : undefined;
}

function isChannel(value: unknown): value is Channel {
  return (
    typeof value === 'object' && value !== null && 'onread' in value && typeof value.onread === 'function'
  );
}

/** A socket of TCP; whether it listens, and where, shows when it is listened on. */
function isListener(value: unknown): value is Listener {
  return isHandle(value) && value.constructor.name === 'TCP' && 'listen' in value;
}

function closeHandle(value: unknown): void {
  if (isHandle(value)) value.close();
}

function isHandle(value: unknown): value is { close(): void } {
  return typeof value === 'object' && value !== null && 'close' in value && typeof value.close === 'function';
}
