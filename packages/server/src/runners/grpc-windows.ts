/**
 * How much each runner that dialled in may have under way. HTTP/2 begins with 64 KiB, which is one batch of events: every
 * one of a flood would wait until the one before was read. The library lets clients say more, and no servers; Node tells of
 * every stream of a server that begins, and this process has no other HTTP/2 server than that for runners.
 */
import type { ServerHttp2Session } from 'node:http2';

/** What a runner holds of one command unacknowledged is more. */
const WINDOW_BYTES = 1024 * 1024;
const BEGUN = 'http2.server.stream.created';

/** Until it is disposed. */
export function widenWindows(): Disposable {
  const channels = process.getBuiltinModule('node:diagnostics_channel');
  const widened = new WeakSet<ServerHttp2Session>();
  const widen = (message: unknown) => {
    const { session } = (message as { stream: { session?: ServerHttp2Session } }).stream;
    if (!session || widened.has(session)) return;
    widened.add(session);
    session.setLocalWindowSize(WINDOW_BYTES);
    session.settings({ initialWindowSize: WINDOW_BYTES });
  };
  channels.subscribe(BEGUN, widen);
  return { [Symbol.dispose]: () => void channels.unsubscribe(BEGUN, widen) };
}
