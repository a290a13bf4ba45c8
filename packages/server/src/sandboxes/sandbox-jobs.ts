/**
 * What is done with bare sandboxes: made (also from a snapshot), snapshotted and deleted, by durable jobs. A job's row is
 * written before anybody acts on it, and its answer before anybody hears of it; so after a crash the next start goes on
 * with it. A runner may be asked twice: it knows jobs by their ids, and assignments by their epochs (I6).
 *
 * Of one sandbox, one thing happens at a time, in the order in which it was asked for.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { AtollError, asAtollError } from '@atoll/protocol/errors';
import type { Logger } from '../logger.ts';
import { type RunnerRegistry, whenFull } from '../runners/registry.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import { jobTable, move, sandboxTable } from '../sessions/status.ts';
import type { Step, Store } from '../store/store.ts';
import type { JobRow, SandboxRow } from '../store/tables.ts';
import { requestOf } from './request.ts';
import { retryIn } from './retries.ts';
import { wishOf } from './rows.ts';
import type { SandboxSnapshots } from './sandbox-snapshots.ts';
import { createSandboxSteps, type SandboxEnd } from './sandbox-steps.ts';

export type SandboxJobs = {
  /**
   * Has a job done whose rows are committed. Resolves when it is over; rejects only when the server stops first.
   * `recovered`: an earlier server had it, and the runners come back now.
   */
  run(job: JobRow, how?: { recovered: boolean }): Promise<void>;
  /** When nothing is under way with that sandbox. Never rejects. */
  settled(sandboxId: string): Promise<void>;
  /** Steps by which an open job of an earlier server waits again; its sandbox has no place any more. */
  waitAgain(job: JobRow, sandbox: SandboxRow): Step[];
  /** Steps by which a sandbox that was ready has ended. */
  ended(sandbox: SandboxRow, end: SandboxEnd): Step[];
  /** A sandbox that nobody asked to end did. */
  sandboxEnded(sandboxId: string, end: SandboxEnd): void;
  /** What is under way stays as it is on disk, for the next start. */
  stop(): Promise<void>;
};

export type SandboxJobsOptions = {
  store: Store;
  runners: RunnerRegistry;
  snapshots: SandboxSnapshots;
  scheduler: Scheduler;
  /** Frees a place on the runner; false when none can be. */
  makeRoom: (runnerId: string) => Promise<boolean>;
  logger: Logger;
  now: () => number;
};

/** What is done with a sandbox that is there. */
type Work = {
  /** Steps that end the job where there is nothing to be done. */
  idle(job: JobRow, sandbox: SandboxRow): Step[] | undefined;
  /** Resolves with the steps that complete it. */
  act(job: JobRow, sandbox: SandboxRow): Promise<Step[]>;
};

/** After a start: as long as it takes runners to find their coordinator again. */
const COME_BACK_MS = 20_000;

export function createSandboxJobs(options: SandboxJobsOptions): SandboxJobs {
  const { store, runners, snapshots, scheduler, makeRoom, logger, now } = options;
  const { sql } = store;
  const { changeSandbox, changeJob, madeSteps, failedSteps, retriedSteps, endedSteps, removedSteps } =
    createSandboxSteps({ store, runners, now });
  const stopping = new AbortController();
  /** The end of what was asked for last, by sandbox. */
  const chains = new Map<string, Promise<void>>();
  /** Takes a create job back that has no place yet. */
  const wanted = new Map<string, AbortController>();

  function run(job: JobRow, { recovered } = { recovered: false }): Promise<void> {
    const { id: jobId, sandbox_id: sandboxId } = job;
    if (job.type === 'delete') wanted.get(sandboxId)?.abort();
    const sinceMs = recovered ? now() + COME_BACK_MS : Date.parse(job.created_at);
    return inTurn(sandboxId, () => carryOut(job, sinceMs)).catch((err) => {
      if (!stopping.signal.aborted) logger.error({ jobId, err }, 'a job could not be carried on');
      throw err;
    });
  }

  /** `sinceMs`: from when on its attempts are counted as long ones. */
  function carryOut(job: JobRow, sinceMs: number): Promise<void> {
    if (makesSandbox(job)) return create(job, sinceMs);
    return work(job, sinceMs, job.type === 'delete' ? removing : snapshotting);
  }

  function inTurn(sandboxId: string, step: () => Promise<void>): Promise<void> {
    const before = chains.get(sandboxId)?.catch(() => undefined) ?? Promise.resolve();
    const own = before.then(() => {
      stopping.signal.throwIfAborted();
      return step();
    });
    chains.set(sandboxId, own);
    const forget = () => {
      if (chains.get(sandboxId) === own) chains.delete(sandboxId);
    };
    own.then(forget, forget);
    return own;
  }

  async function create(first: JobRow, sinceMs: number): Promise<void> {
    const wish = new AbortController();
    wanted.set(first.sandbox_id, wish);
    try {
      let job = first;
      for (;;) {
        const sandbox = await sandboxOf(job);
        if (sandbox.ended_at !== null) return;
        const attempt = { ...job, attempts: job.attempts + 1 };
        const failed = wish.signal.aborted ? takenBack() : await tryToCreate(sandbox, attempt);
        if (!failed) return;
        const waitMs = wish.signal.aborted
          ? undefined
          : retryIn(failed.code, attempt.attempts, now() - sinceMs);
        const end = { cause: failed.code, detail: failed.detail };
        // As the attempt left it on disk: with a place, or without.
        const { status } = (await store.first(jobRow(job.id))) ?? job;
        job = { ...attempt, status };
        const left = await sandboxOf(job);
        if (waitMs === undefined) {
          await persist(failedSteps(job, left, end));
          // It may have come up all the same, where what was asked arrived twice or its answer did not.
          void deleteOn(left);
          return;
        }
        await persist(retriedSteps(job, left, end));
        job = { ...job, status: 'pending' };
        await delay(waitMs, undefined, { signal: AbortSignal.any([stopping.signal, wish.signal]) }).catch(
          () => stopping.signal.throwIfAborted(),
        );
      }
    } finally {
      if (wanted.get(first.sandbox_id) === wish) wanted.delete(first.sandbox_id);
    }
  }

  /** One attempt: a place, then the sandbox. Resolves with why it failed, if it did. */
  async function tryToCreate(sandbox: SandboxRow, job: JobRow): Promise<AtollError | undefined> {
    try {
      const { snapshot_id: snapshotId, tenant } = job;
      const root = snapshotId === null ? undefined : await snapshots.rootOf(snapshotId, tenant);
      const { runnerId, epoch } = await assign(sandbox, job);
      await runners.link(runnerId).createSandbox(requestOf(sandbox, { jobId: job.id, epoch, root }));
      await persist(madeSteps({ ...job, status: 'running' }));
      return undefined;
    } catch (error) {
      stopping.signal.throwIfAborted();
      return asAtollError(error);
    }
  }

  /** Takes a place, in the commit that says whose. */
  async function assign(sandbox: SandboxRow, job: JobRow): Promise<{ runnerId: string; epoch: number }> {
    const { demands = {}, image } = wishOf(sandbox);
    const { runner, settled } = await scheduler.place({
      tenant: sandbox.tenant,
      demands: { ...demands, ...(image === undefined ? {} : { image }) },
      preferred: null,
    });
    const { id: runnerId } = runner;
    const epoch = sandbox.epoch + 1;
    const place = { runner_id: runnerId, epoch, cause: null, detail: null };
    const steps = [
      runners.reserve(runnerId),
      changeSandbox(sandbox.id, { ...place, status: move(sandboxTable, 'pending', 'assigned') }),
      changeJob(job.id, {
        ...place,
        attempts: job.attempts,
        status: move(jobTable, 'pending', 'assigned'),
      }),
    ];
    try {
      for (;;) {
        const full = await store.commit(steps).then(() => undefined, whenFull);
        if (!full) return { runnerId, epoch };
        if (!(await makeRoom(runnerId)))
          throw new AtollError('no_capacity', `every sandbox of ${runnerId} is busy`);
      }
    } finally {
      settled();
    }
  }

  /** With a sandbox that is there: attempts until one goes well, or none will. */
  async function work(job: JobRow, sinceMs: number, { idle, act }: Work): Promise<void> {
    for (let attempts = job.attempts + 1; ; attempts++) {
      const sandbox = await sandboxOf(job);
      const { runner_id: runnerId, epoch } = sandbox;
      const over = idle(job, sandbox);
      if (over) return await persist(over);
      await persist([changeJob(job.id, { status: 'running', runner_id: runnerId, epoch, attempts })]);
      const done = await act({ ...job, status: 'running' }, sandbox).catch(asAtollError);
      if (!(done instanceof AtollError)) return await persist(done);
      stopping.signal.throwIfAborted();
      const waitMs = retryIn(done.code, attempts, now() - sinceMs);
      const end = { cause: done.code, detail: done.detail };
      if (waitMs === undefined) {
        const status = move(jobTable, 'running', 'failed');
        return await persist([changeJob(job.id, { ...end, status })]);
      }
      await persist([changeJob(job.id, { ...end, status: move(jobTable, 'running', 'retried') })]);
      await delay(waitMs, undefined, { signal: stopping.signal });
    }
  }

  const removing: Work = {
    idle: (job, sandbox) =>
      sandbox.ended_at !== null || sandbox.runner_id === null ? removedSteps(job, sandbox) : undefined,
    async act(job, sandbox) {
      const failed = await deleteOn(sandbox);
      if (failed) throw failed;
      return removedSteps(job, sandbox);
    },
  };

  const snapshotting: Work = {
    idle: (job, { status, detail }) =>
      status === 'ready'
        ? undefined
        : [
            changeJob(job.id, {
              cause: 'sandbox_failed',
              detail: `The sandbox is ${status}${detail === null ? '.' : `: ${detail}`}`,
              status: move(jobTable, job.status, 'failed'),
            }),
          ],
    async act(job, { id, tenant, epoch, runner_id: runnerId }) {
      const base = await snapshots.latestRoot(id);
      const taken = await runners.link(runnerId ?? '').snapshot({ workspaceId: id, tenant, epoch, base });
      const status = move(jobTable, 'running', 'completed');
      return [...snapshots.taken(job, taken), changeJob(job.id, { cause: null, detail: null, status })];
    },
  };

  /** On its runner, with its files. Resolves with why not. */
  async function deleteOn({ id, runner_id: runnerId, epoch }: SandboxRow): Promise<AtollError | undefined> {
    try {
      const gone = { sandboxId: id, workspaceId: id, epoch, cause: 'ended', keep: false };
      if (runnerId !== null) await runners.link(runnerId).deleteSandbox(gone);
      return undefined;
    } catch (error) {
      return asAtollError(error);
    }
  }

  function sandboxEnded(sandboxId: string, end: SandboxEnd): void {
    const ended = inTurn(sandboxId, async () => {
      const row = await store.first(sandboxRow(sandboxId));
      if (!row || row.session_id !== null || row.status !== 'ready') return;
      await persist(endedSteps(row, end));
      const left = await deleteOn(row);
      if (left) logger.warn({ sandboxId, err: left }, 'the files of a sandbox could not be removed');
    });
    ended.catch((err) => {
      if (!stopping.signal.aborted) logger.error({ sandboxId, err }, 'the end of a sandbox was not recorded');
    });
  }

  const sandboxRow = (id: string) => sql.selectFrom('sandboxes').selectAll().where('id', '=', id);
  const jobRow = (id: string) => sql.selectFrom('jobs').selectAll().where('id', '=', id);

  async function sandboxOf(job: JobRow): Promise<SandboxRow> {
    const row = await store.first(sandboxRow(job.sandbox_id));
    if (!row) throw new AtollError('internal', `job ${job.id} is of no sandbox`);
    return row;
  }

  /** What has happened is written, however often that takes. */
  async function persist(steps: readonly Step[]): Promise<void> {
    for (let attempts = 1; ; attempts++) {
      try {
        return await store.commit(steps);
      } catch (err) {
        const waitMs = err instanceof AtollError ? retryIn(err.code, attempts, 0) : undefined;
        if (waitMs === undefined) throw err;
        logger.warn({ err }, 'a job could not be written; it is tried again');
        await delay(waitMs, undefined, { signal: stopping.signal });
      }
    }
  }

  return {
    run,
    settled: async (sandboxId) => chains.get(sandboxId)?.catch(() => undefined),
    waitAgain(job, sandbox) {
      if (job.status !== 'running') return [];
      const end = { cause: 'server_lost', detail: 'The server was lost while the job ran.' };
      if (makesSandbox(job)) return retriedSteps(job, sandbox, end);
      return [changeJob(job.id, { ...end, status: move(jobTable, 'running', 'retried') })];
    },
    ended: endedSteps,
    sandboxEnded,
    async stop() {
      stopping.abort(new AtollError('shutting_down'));
      await Promise.allSettled(chains.values());
    },
  };
}

function takenBack(): AtollError {
  return new AtollError('cancelled', 'The sandbox was deleted before it was made.');
}

function makesSandbox({ type }: JobRow): boolean {
  return type === 'create' || type === 'restore';
}
