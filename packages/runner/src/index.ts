/** The sandbox host: pool, drivers, gateway, workspaces. */
export type { Driver, DriverProblem, Mount, Warn } from './driver.ts';
export { createBubblewrapDriver } from './drivers/bubblewrap.ts';
export { describeLimits } from './drivers/limits.ts';
export { createProcessDriver } from './drivers/process.ts';
export type { Upstreams } from './gateway/models.ts';
export type { Logger } from './logger.ts';
export { type BridgeInstall, createRunner, type Runner, type RunnerOptions } from './runner.ts';
