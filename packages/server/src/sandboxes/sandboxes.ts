/** Bare sandboxes and the jobs of all, as their operations see them. */
import { AtollError, isErrorCode } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import type { CommandEvent, SandboxEnded, SandboxFiles } from '@atoll/protocol/runner-link';
import type { Job, Sandbox } from '@atoll/protocol/schemas/sandbox';
import type { SandboxSnapshot } from '@atoll/protocol/schemas/snapshot';
import { refuseSecrets } from '@atoll/protocol/secrets';
import type { Access } from '../keys/access.ts';
import { execIn } from '../runners/exec.ts';
import { commitTime } from '../store/commit-time.ts';
import type { JobRow, SandboxRow } from '../store/tables.ts';
import { createListing } from './listing.ts';
import { showJob, showSandbox } from './rows.ts';
import { createSandboxJobs, type SandboxJobsOptions } from './sandbox-jobs.ts';
import { createSandboxSnapshots, showSandboxSnapshot } from './sandbox-snapshots.ts';

export type SandboxJob = { sandbox: Sandbox; job: Job };

export type Sandboxes = {
  /** With `wait` when it is ready; otherwise when its job is on disk. Rejects, with `wait`, with why it failed. */
  create(access: Access, params: OperationParams<'sandbox.create'>): Promise<SandboxJob>;
  list(access: Access, params: OperationParams<'sandbox.list'>): Promise<OperationResult<'sandbox.list'>>;
  show(access: Access, id: string): Promise<Sandbox>;
  /** With `wait` when it is kept. Rejects with `illegal_transition` for a session's, and for one that is not ready. */
  snapshot(
    access: Access,
    params: OperationParams<'sandbox.snapshot'>,
  ): Promise<OperationResult<'sandbox.snapshot'>>;
  snapshots(
    access: Access,
    params: OperationParams<'sandbox.snapshots.list'>,
  ): Promise<OperationResult<'sandbox.snapshots.list'>>;
  deleteSnapshot(
    access: Access,
    params: OperationParams<'sandbox.snapshots.delete'>,
  ): Promise<SandboxSnapshot>;
  /** With `wait` when it is gone. One that has ended already is no error. Rejects with `illegal_transition` for a session's. */
  delete(access: Access, params: OperationParams<'sandbox.delete'>): Promise<SandboxJob>;
  exec(
    access: Access,
    params: OperationParams<'sandbox.exec'>,
    how: { signal: AbortSignal; traceparent: string },
  ): Promise<AsyncIterable<CommandEvent>>;
  filesOf(access: Access, id: string): Promise<SandboxFiles>;
  jobs(access: Access, params: OperationParams<'job.list'>): Promise<OperationResult<'job.list'>>;
  job(access: Access, id: string): Promise<Job>;
  /** Nothing happens when it is none of these on that runner. */
  onSandboxEnded(runnerId: string, ended: SandboxEnded): Promise<void>;
  /** Whatever that runner held is over. */
  onRunnerLost(runnerId: string): Promise<void>;
  /** As `onRunnerLost`, for runners that are not there: an earlier server knew them. */
  endAbsent(): Promise<void>;
  /** Those that are ready on a runner, with their epochs. */
  readyOn(runnerId: string): Promise<{ id: string; epoch: number }[]>;
  /** Goes on with what an earlier server left: jobs that are open, and sandboxes that ended with it. */
  recover(): Promise<void>;
  stop(): Promise<void>;
};

const SERVER_LOST = { cause: 'server_lost', detail: 'The server lost this sandbox.' };
const RUNNER_LOST = { cause: 'runner_lost', detail: 'The runner of this sandbox was lost.' };
const SERVER_STOPPED = { cause: 'server_stopped', detail: 'The server was stopped.' };

export function createSandboxes(options: Omit<SandboxJobsOptions, 'snapshots'>): Sandboxes {
  const { store, runners, now } = options;
  const { sql } = store;
  const kept = createSandboxSnapshots({ store, now });
  const listing = createListing(store);
  const work = createSandboxJobs({ ...options, snapshots: kept });

  async function create(
    { tenant }: Access,
    { wait, name, allowSecretEnv = false, ...wish }: OperationParams<'sandbox.create'>,
  ): Promise<SandboxJob> {
    if (!allowSecretEnv) refuseSecrets(wish.env ?? {});
    const { snapshotId } = wish;
    if (snapshotId !== undefined) await kept.rootOf(snapshotId, tenant);
    const id = newId('sandbox');
    const sandbox = {
      id,
      tenant,
      session_id: null,
      runner_id: null,
      epoch: 0,
      status: 'pending' as const,
      cause: null,
      detail: null,
      name: name ?? null,
      request: JSON.stringify(wish),
      ready_at: null,
      ended_at: null,
      counted: 0 as const,
    };
    const job = snapshotId === undefined ? newJob('create', sandbox) : newJob('restore', sandbox, snapshotId);
    await store.commit([
      { query: sql.insertInto('sandboxes').values((row) => ({ ...sandbox, created_at: commitTime(row) })) },
      { query: sql.insertInto('jobs').values(job) },
    ]);
    return answer(job, work.run(job), wait);
  }

  async function remove(
    access: Access,
    { sandboxId, wait }: OperationParams<'sandbox.delete'>,
  ): Promise<SandboxJob> {
    const sandbox = await bareOf(access, sandboxId);
    const earlier = await openJob(sandboxId, 'delete');
    if (earlier) return answer(earlier, work.settled(sandboxId), wait);
    const job = newJob('delete', sandbox);
    await store.commit([{ query: sql.insertInto('jobs').values(job) }]);
    return answer(job, work.run(job), wait);
  }

  /** Its id is known from the first: whatever is tried again, it is one snapshot. */
  async function snapshot(
    access: Access,
    { sandboxId, wait }: OperationParams<'sandbox.snapshot'>,
  ): Promise<OperationResult<'sandbox.snapshot'>> {
    const sandbox = await bareOf(access, sandboxId);
    refuseUnlessReady(sandbox);
    const snapshotId = newId('snapshot');
    const job = newJob('snapshot', sandbox, snapshotId);
    await store.commit([{ query: sql.insertInto('jobs').values(job) }]);
    const answered = await answer(job, work.run(job), wait);
    const row = wait ? await kept.find(snapshotId) : undefined;
    return { job: answered.job, snapshot: row ? showSandboxSnapshot(row) : null };
  }

  function newJob(
    type: JobRow['type'],
    sandbox: Pick<SandboxRow, 'id' | 'tenant'>,
    snapshotId: string | null = null,
  ): JobRow {
    const at = new Date(now()).toISOString();
    return {
      id: newId('job'),
      tenant: sandbox.tenant,
      type,
      sandbox_id: sandbox.id,
      session_id: null,
      runner_id: null,
      epoch: 0,
      status: 'pending',
      attempts: 0,
      cause: null,
      detail: null,
      created_at: at,
      updated_at: at,
      snapshot_id: snapshotId,
    };
  }

  async function answer(job: JobRow, over: Promise<void>, wait: boolean): Promise<SandboxJob> {
    // Told in its row, and to the log.
    if (wait) await over;
    else over.catch(() => undefined);
    const [after, sandbox] = await Promise.all([jobRow(job.id), sandboxRow(job.sandbox_id)]);
    if (wait && after.status === 'failed') throw failureOf(after);
    return { sandbox: showSandbox(sandbox), job: showJob(after) };
  }

  async function sandboxRow(id: string): Promise<SandboxRow> {
    const row = await store.first(sql.selectFrom('sandboxes').selectAll().where('id', '=', id));
    if (!row) throw new AtollError('not_found', `no sandbox ${id}`);
    return row;
  }

  async function jobRow(id: string): Promise<JobRow> {
    const row = await store.first(sql.selectFrom('jobs').selectAll().where('id', '=', id));
    if (!row) throw new AtollError('not_found', `no job ${id}`);
    return row;
  }

  async function openJob(sandboxId: string, type: JobRow['type']): Promise<JobRow | undefined> {
    const query = sql
      .selectFrom('jobs')
      .selectAll()
      .where('sandbox_id', '=', sandboxId)
      .where('session_id', 'is', null)
      .where('type', '=', type)
      .where('status', 'in', ['pending', 'running']);
    return store.first(query);
  }

  /** Another tenant's is not there (I12). */
  async function found(access: Access, id: string): Promise<SandboxRow> {
    const row = await sandboxRow(id);
    if (!access.may(row.tenant)) throw new AtollError('not_found', `no sandbox ${id}`);
    return row;
  }

  async function bareOf(access: Access, id: string): Promise<SandboxRow> {
    const row = await found(access, id);
    if (row.session_id === null) return row;
    throw new AtollError(
      'illegal_transition',
      `the sandbox is of session ${row.session_id}; use, pause or end that`,
    );
  }

  async function readyOf(access: Access, id: string): Promise<{ runnerId: string; epoch: number }> {
    return refuseUnlessReady(await bareOf(access, id));
  }

  function refuseUnlessReady({ status, runner_id: runnerId, epoch, detail }: SandboxRow) {
    if (runnerId !== null && status === 'ready') return { runnerId, epoch };
    throw new AtollError(
      'illegal_transition',
      `the sandbox is ${status}${detail === null ? '' : `: ${detail}`}`,
    );
  }

  const bareJobs = sql
    .selectFrom('jobs')
    .selectAll()
    .where('session_id', 'is', null)
    .where('status', 'in', ['pending', 'running']);

  /** Their rows say that they wait; what a runner made of it before, its next attempt finds. */
  async function recover(): Promise<void> {
    await endLocal(SERVER_LOST);
    for (const job of await store.all(bareJobs.orderBy('id'))) {
      // Its server is gone, and with it whoever waited.
      work.run(await again(job), { recovered: true }).catch(() => undefined);
    }
  }

  /** A job that was under way waits again; a sandbox that was being made has no place any more. */
  async function again(job: JobRow): Promise<JobRow> {
    const sandbox = await sandboxRow(job.sandbox_id);
    const steps = work.waitAgain(job, sandbox);
    if (steps.length > 0) await store.commit(steps);
    return { ...job, status: 'pending' };
  }

  /** Those that were ready on the runner of this process end with it. */
  async function endLocal(end: typeof SERVER_LOST): Promise<void> {
    const ready = sql
      .selectFrom('sandboxes')
      .innerJoin('runners', 'runners.id', 'sandboxes.runner_id')
      .selectAll('sandboxes')
      .where('sandboxes.ended_at', 'is', null)
      .where('sandboxes.session_id', 'is', null)
      .where('sandboxes.status', '=', 'ready')
      .where('runners.link', '=', 'local');
    for (const row of await store.all(ready)) await store.commit(work.ended(row, end));
  }

  const bareReady = sql
    .selectFrom('sandboxes')
    .select(['id', 'epoch'])
    .where('session_id', 'is', null)
    .where('status', '=', 'ready')
    .where('ended_at', 'is', null);
  const onRunner = (runnerId: string) => bareReady.where('runner_id', '=', runnerId);

  return {
    create,
    list: listing.sandboxes,
    show: async (access, id) => showSandbox(await found(access, id)),
    delete: remove,
    snapshot,
    async snapshots(access, params) {
      await found(access, params.sandboxId);
      return kept.list(params);
    },
    async deleteSnapshot(access, params) {
      await found(access, params.sandboxId);
      return kept.remove(params);
    },
    async exec(access, { sandboxId, ...command }, how) {
      const { runnerId, epoch } = await readyOf(access, sandboxId);
      return execIn(runners.link(runnerId), { sandboxId, epoch }, command, how);
    },
    async filesOf(access, id) {
      return runners.link((await readyOf(access, id)).runnerId).files;
    },
    jobs: listing.jobs,
    async job(access, id) {
      const row = await jobRow(id);
      if (!access.may(row.tenant)) throw new AtollError('not_found', `no job ${id}`);
      return showJob(row);
    },
    async onSandboxEnded(runnerId, { sandboxId, epoch, cause, detail }) {
      const ofAssignment = onRunner(runnerId).where('id', '=', sandboxId).where('epoch', '=', epoch);
      const row = await store.first(ofAssignment);
      if (row) work.sandboxEnded(sandboxId, { cause, detail });
    },
    async onRunnerLost(runnerId) {
      for (const { id } of await store.all(onRunner(runnerId))) work.sandboxEnded(id, RUNNER_LOST);
    },
    async endAbsent() {
      const ready = bareReady.where('runner_id', 'not in', ['', ...runners.all().map(({ id }) => id)]);
      for (const { id } of await store.all(ready)) work.sandboxEnded(id, RUNNER_LOST);
    },
    readyOn: (runnerId) => store.all(onRunner(runnerId)),
    recover,
    async stop() {
      await work.stop();
      await endLocal(SERVER_STOPPED);
    },
  };
}

function failureOf({ cause, detail }: JobRow): AtollError {
  const code = cause !== null && isErrorCode(cause) ? cause : 'sandbox_failed';
  return new AtollError(code, detail ?? undefined);
}
