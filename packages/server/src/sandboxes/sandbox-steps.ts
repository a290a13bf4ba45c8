/** What happens to bare sandboxes and their jobs, as steps of the commits in which it does. */
import type { RunnerRegistry } from '../runners/registry.ts';
import { jobTable, move, sandboxTable } from '../sessions/status.ts';
import { commitTime } from '../store/commit-time.ts';
import type { Step, Store } from '../store/store.ts';
import type { JobRow, SandboxRow } from '../store/tables.ts';

export type SandboxEnd = { cause: string; detail: string };

export function createSandboxSteps(options: {
  store: Store;
  runners: Pick<RunnerRegistry, 'release'>;
  now: () => number;
}) {
  const { store, runners, now } = options;
  const { sql } = store;

  const changeSandbox = (id: string, change: Partial<SandboxRow>, at?: 'ready_at' | 'ended_at'): Step => ({
    query: sql
      .updateTable('sandboxes')
      .set((row) => (at === undefined ? change : { ...change, [at]: commitTime(row) }))
      .where('id', '=', id)
      .where('ended_at', 'is', null),
  });
  const changeJob = (id: string, change: Partial<JobRow>): Step => ({
    query: sql
      .updateTable('jobs')
      .set({ ...change, updated_at: new Date(now()).toISOString() })
      .where('id', '=', id),
  });
  const release = ({ runner_id: runnerId, status }: SandboxRow): Step[] =>
    runnerId === null || status === 'pending' ? [] : [runners.release(runnerId)];

  const madeSteps = (job: JobRow): Step[] => [
    changeSandbox(job.sandbox_id, { status: move(sandboxTable, 'starting', 'ready') }, 'ready_at'),
    changeJob(job.id, { status: move(jobTable, job.status, 'completed') }),
  ];
  const failedSteps = (job: JobRow, sandbox: SandboxRow, end: SandboxEnd): Step[] => [
    changeSandbox(sandbox.id, { ...end, status: move(sandboxTable, sandbox.status, 'failed') }, 'ended_at'),
    changeJob(job.id, { ...end, attempts: job.attempts, status: move(jobTable, job.status, 'failed') }),
    ...release(sandbox),
  ];
  /** It waits for its next attempt, without a place. */
  const retriedSteps = (job: JobRow, sandbox: SandboxRow, end: SandboxEnd): Step[] => [
    changeSandbox(sandbox.id, { status: 'pending', runner_id: null }),
    changeJob(job.id, {
      ...end,
      attempts: job.attempts,
      status: job.status === 'running' ? move(jobTable, 'running', 'retried') : 'pending',
    }),
    ...release(sandbox),
  ];
  const endedSteps = (sandbox: SandboxRow, end: SandboxEnd): Step[] => [
    changeSandbox(sandbox.id, { ...end, status: move(sandboxTable, sandbox.status, 'ended') }, 'ended_at'),
    ...release(sandbox),
  ];
  const removedSteps = (job: JobRow, sandbox: SandboxRow): Step[] => {
    const end = { cause: 'ended', detail: 'Somebody asked for the sandbox to end.' };
    const running = job.status === 'running' ? job.status : move(jobTable, job.status, 'assigned');
    return [
      ...(sandbox.ended_at === null ? endedSteps(sandbox, end) : []),
      changeJob(job.id, { cause: null, detail: null, status: move(jobTable, running, 'completed') }),
    ];
  };

  return { changeSandbox, changeJob, madeSteps, failedSteps, retriedSteps, endedSteps, removedSteps };
}
