/** The coordinator: API, store, session log, scheduler, runner registry. */
export type { Logger } from './logger.ts';
export type { RunnerInfo } from './runners/registry.ts';
export { createServer, type Server, type ServerOptions } from './server.ts';
export { fold, initialState, type SessionState, type StateEvent } from './sessions/fold.ts';
export { sessionTable } from './sessions/status.ts';
