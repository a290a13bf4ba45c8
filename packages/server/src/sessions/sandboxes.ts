/**
 * A session's sandboxes: made by a durable job on a runner, ended, lost. Every assignment takes a new sandbox id and a
 * higher epoch (I6), and one reserved place that is given back in the commit that ends the sandbox.
 */
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import type { ExecutorRequest, ModelBudget, ResourceLimits } from '@atoll/protocol/runner-link';
import { type RunnerRegistry, whenFull } from '../runners/registry.ts';
import type { Demands, Scheduler } from '../scheduler/scheduler.ts';
import type { Snapshots } from '../snapshots/snapshots.ts';
import { commitTime } from '../store/commit-time.ts';
import { prepared } from '../store/prepared.ts';
import type { Step, Store } from '../store/store.ts';
import type { SandboxRow } from '../store/tables.ts';
import type { LiveSession } from './live-session.ts';
import { jobTable, move, sandboxTable } from './status.ts';

/** What a session's sandboxes are made with: its agent's settings with its own on top. */
export type SandboxSettings = {
  agentHash: string;
  executor: ExecutorRequest;
  env: Record<string, string>;
  limits: Partial<ResourceLimits>;
  budget: ModelBudget;
  egress: readonly string[];
  image?: string;
  demands: Demands;
};

export type Assignment = {
  sandboxId: string;
  jobId: string;
  runnerId: string;
  epoch: number;
};
/** Made ahead, for a session that then has the id it was made with. It holds a reserved place. */
export type WarmSandbox = { sandboxId: string; sessionId: string; runnerId: string };

export type SandboxEnd = { cause: string; detail: string };

export type Making = SandboxSettings & { traceparent: string };

export type SessionSandboxes = {
  /** Reserves a place and writes sandbox and job, with `also`, in one commit. Rejects with `no_capacity`, `no_runner`. */
  reserve(session: LiveSession, demands: Demands, also?: readonly Step[]): Promise<Assignment>;
  /** The session's first assignment is this sandbox, which is ready, with its place. The rows that say so. */
  taken(session: LiveSession, warm: WarmSandbox): Step[];
  /** Has the runner make it. Rejects as RunnerLink.createSandbox does. */
  make(session: LiveSession, assignment: Assignment, how: Making): Promise<void>;
  /** Rows of an assignment that came to be, or not. */
  made(assignment: Assignment): Step[];
  failed(assignment: Assignment, end: SandboxEnd): Step[];
  /** Rows of a sandbox that was ready and is no more. */
  ended(session: LiveSession, end: SandboxEnd): Step[];
  /** Ends it (the latest, unless told which) on its runner, if it is still there. */
  remove(session: LiveSession, options: { sandboxId?: string; cause: string; keep: boolean }): Promise<void>;
};

/** Of a session's first assignment, which one that was made ahead is made for. */
export const FIRST_EPOCH = 1;

type InsertedSandbox = Omit<
  SandboxRow,
  'created_at' | 'ready_at' | 'ended_at' | 'name' | 'request' | 'counted'
>;

const COLUMNS = ['id', 'tenant', 'session_id', 'runner_id', 'epoch', 'status', 'cause', 'detail'] as const;

const sandboxInsert = prepared<InsertedSandbox, keyof InsertedSandbox>(COLUMNS, (sql, row) =>
  sql.insertInto('sandboxes').values((of) => ({ ...row, counted: 0, created_at: commitTime(of) })),
);

const readySandboxInsert = prepared<InsertedSandbox, keyof InsertedSandbox>(COLUMNS, (sql, row) =>
  sql
    .insertInto('sandboxes')
    .values((of) => ({ ...row, counted: 0, created_at: commitTime(of), ready_at: commitTime(of) })),
);

function rowOf({ id, row }: LiveSession, { runnerId, epoch }: { runnerId: string; epoch: number }) {
  return { tenant: row.tenant, session_id: id, runner_id: runnerId, epoch, cause: null, detail: null };
}

export function createSessionSandboxes(options: {
  store: Store;
  runners: RunnerRegistry;
  scheduler: Pick<Scheduler, 'placeSoon'>;
  snapshots: Snapshots;
  now: () => number;
  /** Frees a place on the runner by pausing its least recently used idle session; false when there is none. */
  makeRoom: (runnerId: string) => Promise<boolean>;
  /** Tells that somebody waits for a sandbox, until the function that it returns is called. */
  busy: () => () => void;
}): SessionSandboxes {
  const { store, runners, scheduler, snapshots, now, makeRoom, busy } = options;
  const { sql } = store;
  const timestamp = () => new Date(now()).toISOString();

  async function reserve(
    session: LiveSession,
    demands: Demands,
    also: readonly Step[] = [],
  ): Promise<Assignment> {
    const { tenant } = session.row;
    const where = { tenant, demands, preferred: session.runnerId };
    const { runner, settled } = await scheduler.placeSoon(where);
    const assignment = {
      sandboxId: newId('sandbox'),
      jobId: newId('job'),
      runnerId: runner.id,
      epoch: session.epoch + 1,
    };
    const steps = [runners.reserve(runner.id), ...insertAssignment(session, assignment), ...also];
    try {
      for (;;) {
        const full = await store.commit(steps).then(() => undefined, whenFull);
        if (!full) break;
        if (!(await makeRoom(runner.id)))
          throw new AtollError(
            'no_capacity',
            `all ${runner.info.capacity} sandboxes of ${runner.id} are busy`,
          );
      }
    } finally {
      settled();
    }
    session.epoch = assignment.epoch;
    session.runnerId = runner.id;
    return assignment;
  }

  function insertAssignment(session: LiveSession, assignment: Assignment): Step[] {
    const { sandboxId, jobId, ...held } = assignment;
    const common = rowOf(session, held);
    const sandbox = { ...common, id: sandboxId, status: move(sandboxTable, 'pending', 'assigned') };
    const job = {
      ...common,
      id: jobId,
      type: 'create' as const,
      sandbox_id: sandboxId,
      snapshot_id: null,
      status: move(jobTable, 'pending', 'assigned'),
      attempts: 1,
      created_at: timestamp(),
      updated_at: timestamp(),
    };
    return [{ query: sandboxInsert(store, sandbox) }, { query: sql.insertInto('jobs').values(job) }];
  }

  function taken(session: LiveSession, { sandboxId, runnerId }: WarmSandbox): Step[] {
    session.epoch = FIRST_EPOCH;
    session.runnerId = runnerId;
    const made = move(sandboxTable, move(sandboxTable, 'pending', 'assigned'), 'ready');
    const row = { ...rowOf(session, { runnerId, epoch: FIRST_EPOCH }), id: sandboxId, status: made };
    return [{ query: readySandboxInsert(store, row) }];
  }

  async function make(session: LiveSession, assignment: Assignment, settings: Making): Promise<void> {
    const done = busy();
    await makeNew(session, assignment, settings).finally(done);
  }

  async function makeNew(session: LiveSession, assignment: Assignment, settings: Making): Promise<void> {
    const { executorSessionId, executorBranches } = session.state;
    const snapshot = await snapshots.nearest(session.id, session.log.lastSeq);
    const fresh = snapshot === undefined && !(await wasOn(session, assignment.runnerId));
    await runners.link(assignment.runnerId).createSandbox({
      jobId: assignment.jobId,
      epoch: assignment.epoch,
      traceparent: settings.traceparent,
      sandbox: {
        id: assignment.sandboxId,
        sessionId: session.id,
        tenant: session.row.tenant,
        agentHash: settings.agentHash,
        workspaceId: session.id,
        fresh,
        ...(snapshot && { snapshot: { root: snapshot.root, epoch: snapshot.epoch } }),
        executor: settings.executor,
        // What an executor remembers is among the files.
        ...(executorSessionId === null || fresh ? {} : { executorSessionId, executorBranches }),
        env: settings.env,
        limits: settings.limits,
        ...(Object.keys(settings.budget).length === 0 ? {} : { budget: settings.budget }),
        egress: settings.egress,
        ...(settings.image === undefined ? {} : { image: settings.image }),
      },
    });
  }

  /** Its files are there, though no snapshot of them was taken. */
  async function wasOn(session: LiveSession, runnerId: string): Promise<boolean> {
    const { sandboxId } = session.state;
    if (sandboxId === null) return false;
    const query = sql.selectFrom('sandboxes').select('runner_id').where('id', '=', sandboxId);
    return (await store.first(query))?.runner_id === runnerId;
  }

  const updateSandbox = (
    id: string,
    at: 'ready_at' | 'ended_at',
    change: Partial<Pick<SandboxRow, 'status' | 'cause' | 'detail'>>,
  ): Step => ({
    query: sql
      .updateTable('sandboxes')
      .set((row) => ({ ...change, [at]: commitTime(row) }))
      .where('id', '=', id),
  });
  const updateJob = (id: string, change: Record<string, string | null>): Step => ({
    query: sql
      .updateTable('jobs')
      .set({ ...change, updated_at: timestamp() })
      .where('id', '=', id),
  });

  return {
    reserve,
    taken,
    make,
    made: ({ sandboxId, jobId }) => [
      updateSandbox(sandboxId, 'ready_at', { status: move(sandboxTable, 'starting', 'ready') }),
      updateJob(jobId, { status: move(jobTable, 'running', 'completed') }),
    ],
    failed: ({ sandboxId, jobId, runnerId }, end) => [
      updateSandbox(sandboxId, 'ended_at', { status: move(sandboxTable, 'starting', 'failed'), ...end }),
      updateJob(jobId, { status: move(jobTable, 'running', 'failed'), ...end }),
      runners.release(runnerId),
    ],
    ended(session, end) {
      const { sandboxId } = session.state;
      if (sandboxId === null || session.runnerId === null) return [];
      const status = move(sandboxTable, 'ready', 'ended');
      return [updateSandbox(sandboxId, 'ended_at', { status, ...end }), runners.release(session.runnerId)];
    },
    async remove(session, { sandboxId = session.state.sandboxId, cause, keep }) {
      if (session.runnerId === null) return;
      const request = { workspaceId: session.id, epoch: session.epoch, cause, keep };
      await runners.link(session.runnerId).deleteSandbox({ ...request, sandboxId: sandboxId ?? '' });
    },
  };
}
