/**
 * The worker ended, or could not be started or reached. What was asked of it may have happened. `connectWorker` starts it
 * again by itself, so the same call may work a moment later, unless it was closed.
 */
export class WorkerGone extends Error {
  override readonly name = 'WorkerGone';
}
