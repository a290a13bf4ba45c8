/** What of the product runs in the simulation and is not exported by its packages: nobody else composes a server. */

export { createRemoteCoordinator } from '../../packages/runner/src/coordinator/http.ts';
export type { Driver, SandboxExit, SandboxProcess, SandboxSpec } from '../../packages/runner/src/driver.ts';
export { createRunner, type Machine, type Runner } from '../../packages/runner/src/runner.ts';
export type { BlobStore } from '../../packages/server/src/blob-store/blob-store.ts';
export { eventsOf } from '../../packages/server/src/log/frames.ts';
export { createPlatform, type Platform } from '../../packages/server/src/platform.ts';
export { createParamReader } from '../../packages/server/src/routes/read-params.ts';
export { createSseWriters } from '../../packages/server/src/routes/sse.ts';
export { toAtollError } from '../../packages/server/src/routes/to-atoll-error.ts';
export {
  createMemoryDisk,
  type MemoryDisk,
  openMemoryDatabase,
} from '../../packages/server/src/store/sqlite-memory.fixture.ts';
