/** The coordinator: API, store, session log, scheduler, runner registry. */
export type { LocalClient, LocalEvent } from './local-client.ts';
export type { Logger } from './logger.ts';
export type { HostChannel } from './rpc/connection.ts';
export type { RunnerInfo } from './runners/registry.ts';
export { createServer, type Listening, type Server } from './server.ts';
export type { EmbeddedRunner, ServerOptions } from './server-options.ts';
export { fold, initialState, type SessionState, type StateEvent } from './sessions/fold.ts';
export { sessionTable } from './sessions/status.ts';
