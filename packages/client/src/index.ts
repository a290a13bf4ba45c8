/** The client of Atoll's API: typed calls, and event streams that survive cut connections. Browser-safe; `@atoll/client/worker` is not. */
export { type Client, type ClientOptions, createClient, type SendParams } from './client.ts';
export { Unreachable } from './errors.ts';
export {
  createSessionClient,
  type SessionBinding,
  type SessionClient,
  SessionClientError,
  type SessionClientOptions,
} from './session-client.ts';
export { type ExecEvent, eventData, type StreamEvent } from './stream-event.ts';
export { systemTimers, type Timers } from './timers.ts';
