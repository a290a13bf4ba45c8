/**
 * The snapshots of sessions: taken on runners, kept in a blob store of their own, known by rows here. One exists when
 * its row is committed, and everything it is made of was stored before that; so a crash leaves blobs that nothing
 * leads to, and never half a snapshot.
 */
import { AtollError, asAtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import type { RunnerLink, SnapshotBlobs, SnapshotSource, TakenSnapshot } from '@atoll/protocol/runner-link';
import { id } from '@atoll/protocol/schemas/common';
import type { BlobStore } from '../blob-store/blob-store.ts';
import { cursorAt, paged } from '../store/cursor.ts';
import { prepared } from '../store/prepared.ts';
import type { Step, Store } from '../store/store.ts';
import type { SnapshotRow } from '../store/tables.ts';
import { countSnapshot } from '../usage/counting.ts';
import { createLateCommits } from './late-commits.ts';

/** A complete one. `sessionId` and `seq` say whose it is, which for a fork may be its parent's. */
export type Snapshot = SnapshotSource & { id: string; sessionId: string; seq: number };

export type SnapshotRequest = {
  sessionId: string;
  tenant: string;
  epoch: number;
  /** The event after which the files are as they are. */
  seq: number;
  link: RunnerLink;
  /**
   * When it may begin, which `now` brings about, and when its event is on disk: its row comes after that. Undefined: that is
   * so, and somebody waits until it is over.
   */
  later: { begin: Promise<unknown>; durable: Promise<unknown>; now: () => void } | undefined;
};

export type SnapshotOutcome =
  | { status: 'complete'; snapshot: Snapshot; taken: TakenSnapshot }
  | { status: 'failed'; cause: string; detail: string };

export type TakingSnapshot = {
  /** The files may change again. Never rejects. */
  readonly scanned: Promise<void>;
  /** Its row is committed. Never rejects. */
  readonly over: Promise<SnapshotOutcome>;
};

type Parent = { sessionId: string; seq: number; erased: boolean; hadSnapshot: boolean };

type UnderWay = { root: Promise<string>; over: Promise<SnapshotOutcome>; now: () => void };

export type Snapshots = {
  /** After what is under way for that session. */
  take(request: SnapshotRequest): TakingSnapshot;
  /**
   * The root of the files as they are now, when those under way are over. It has no row: what it holds beyond the latest
   * snapshot is removed as what nothing leads to. Rejects as RunnerLink.snapshot does.
   */
  look(request: Pick<SnapshotRequest, 'sessionId' | 'tenant' | 'epoch' | 'link'>): Promise<string>;
  /**
   * The latest complete snapshot at or before that event, when those under way are over; undefined: none, so the files
   * were the agent's folder. Of a fork it may be one of its parents'; rejects with `snapshot_failed` where that would have
   * been one of a parent that was erased. With `begunBy` (ISO 8601), of those alone whose
   * taking had begun by then.
   */
  nearest(sessionId: string, seq: number, begunBy?: string): Promise<Snapshot | undefined>;
  /** Those of a session, oldest first. */
  list(params: OperationParams<'session.snapshots.list'>): Promise<OperationResult<'session.snapshots.list'>>;
  /** Makes a new session begin from that snapshot. The commit fails with `not_found` when it is gone by then. */
  inherit(from: Snapshot, by: { sessionId: string; tenant: string }): Step;
  /** Resolves when none is under way. */
  settled(): Promise<void>;
  /** Forgets those of a session. */
  forget(sessionId: string): Step;
  /** What runners put content in, and get it from. */
  readonly blobs: SnapshotBlobs;
};

export function createSnapshots(options: { store: Store; blobs: BlobStore; now: () => number }): Snapshots {
  const { store, blobs, now } = options;
  const { sql } = store;
  const late = createLateCommits(store);
  /** The latest of each session that is under way. The next one begins when it was taken, and before its row is written. */
  const underWay = new Map<string, UnderWay>();

  function take(request: SnapshotRequest): TakingSnapshot {
    const { sessionId } = request;
    const createdAt = timestamp();
    const taken = takeNow(request, underWay.get(sessionId));
    const root = taken.then((found) => found.root);
    const over = taken
      .then((found) => complete(request, createdAt, found))
      .catch((error) => failed(request, createdAt, error))
      .finally(() => {
        if (underWay.get(sessionId) === own) underWay.delete(sessionId);
      });
    const own = { root, over, now: () => request.later?.now() };
    underWay.set(sessionId, own);
    const scanned = root.then(
      () => undefined,
      () => undefined,
    );
    return { scanned, over: request.later ? over : late.hurry(over) };
  }

  async function takeNow(
    { sessionId, tenant, epoch, link, later }: SnapshotRequest,
    before: UnderWay | undefined,
  ): Promise<TakenSnapshot> {
    before?.now();
    await later?.begin;
    const taken = await before?.root.catch(() => undefined);
    const base = taken ?? (await latestRow(sessionId, Number.MAX_SAFE_INTEGER))?.root ?? null;
    return link.snapshot({ workspaceId: sessionId, tenant, epoch, base });
  }

  async function complete(
    request: SnapshotRequest,
    createdAt: string,
    taken: TakenSnapshot,
  ): Promise<SnapshotOutcome> {
    await request.later?.durable;
    const { root, files, sizeBytes, storedBytes, skipped } = taken;
    const sizes = { files, size_bytes: sizeBytes, stored_bytes: storedBytes, skipped: skipped.count };
    const row = newRow(request, createdAt, { status: 'complete', root, ...sizes });
    const counted = { sessionId: row.session_id, storedBytes, endedAt: row.ended_at };
    await late.commit(insert(row), countSnapshot(counted));
    return { status: 'complete', snapshot: found({ ...row, root }), taken };
  }

  async function failed(
    request: SnapshotRequest,
    createdAt: string,
    error: unknown,
  ): Promise<SnapshotOutcome> {
    const known = asAtollError(error);
    const end = { cause: known.code, detail: known.detail };
    const row = newRow(request, createdAt, { status: 'failed', ...end });
    // Whatever keeps the row from being written, the caller tells of the failure.
    await late.commit(insert(row)).catch(() => undefined);
    return { status: 'failed', ...end };
  }

  /** Unless its session was erased meanwhile. */
  function insert(row: SnapshotRow): Step {
    return { query: insertRow(store, row) };
  }

  function newRow(
    { sessionId, tenant, epoch, seq }: SnapshotRequest,
    createdAt: string,
    end: Pick<SnapshotRow, 'status'> & Partial<SnapshotRow>,
  ): SnapshotRow {
    const whose = { id: newId('snapshot'), tenant, session_id: sessionId, epoch, seq };
    const nothing = { root: null, cause: null, detail: null };
    const sizes = { files: 0, size_bytes: 0, stored_bytes: 0, skipped: 0 };
    return { ...whose, ...nothing, ...sizes, created_at: createdAt, ended_at: timestamp(), ...end };
  }

  async function look({ sessionId, tenant, epoch, link }: Parameters<Snapshots['look']>[0]): Promise<string> {
    await overNow(sessionId);
    const base = (await latestRow(sessionId, Number.MAX_SAFE_INTEGER))?.root ?? null;
    const { root } = await link.snapshot({ workspaceId: sessionId, tenant, epoch, base, passing: true });
    return root;
  }

  async function overNow(sessionId: string): Promise<void> {
    const awaited = underWay.get(sessionId);
    awaited?.now();
    if (awaited) await late.hurry(awaited.over);
  }

  async function nearest(sessionId: string, seq: number, begunBy?: string): Promise<Snapshot | undefined> {
    await overNow(sessionId);
    const row = await latestRow(sessionId, seq, begunBy);
    if (row) return found(row);
    const parent = await parentOf(sessionId);
    if (parent?.erased && parent.hadSnapshot) {
      const detail = `the files by then were those of ${parent.sessionId}, which was erased with its snapshots`;
      throw new AtollError('snapshot_failed', detail);
    }
    return parent && nearest(parent.sessionId, Math.min(seq, parent.seq), begunBy);
  }

  async function latestRow(
    sessionId: string,
    seq: number,
    begunBy?: string,
  ): Promise<(SnapshotRow & { root: string }) | undefined> {
    let query = sql
      .selectFrom('snapshots')
      .selectAll()
      .where('session_id', '=', sessionId)
      .where('seq', '<=', seq)
      .where('status', '=', 'complete')
      .$narrowType<{ root: string }>()
      .orderBy('seq', 'desc')
      .orderBy('id', 'desc')
      .limit(1);
    if (begunBy !== undefined) query = query.where('created_at', '<=', begunBy);
    return store.first(query);
  }

  /** Where a fork left its parent, and whether the parent had a snapshot by then. */
  async function parentOf(sessionId: string): Promise<Parent | undefined> {
    const query = sql
      .selectFrom('sessions')
      .innerJoin('logs', 'logs.id', 'sessions.log_id')
      .innerJoin('logs as parents', 'parents.id', 'logs.parent_id')
      .leftJoin('sessions as there', 'there.id', 'parents.session_id')
      .select(['parents.session_id as sessionId', 'logs.parent_seq as seq', 'there.id as id'])
      .select('sessions.snapshot_seq as snapshotSeq')
      .where('sessions.id', '=', sessionId);
    const parent = await store.first(query);
    if (!parent) return undefined;
    const { id, seq, snapshotSeq } = parent;
    return {
      sessionId: parent.sessionId,
      seq: seq ?? 0,
      erased: id === null,
      hadSnapshot: snapshotSeq !== null,
    };
  }

  async function list({
    sessionId,
    limit,
    cursor,
  }: OperationParams<'session.snapshots.list'>): Promise<OperationResult<'session.snapshots.list'>> {
    let query = sql
      .selectFrom('snapshots')
      .selectAll()
      .where('session_id', '=', sessionId)
      .orderBy('id')
      .limit(limit + 1);
    if (cursor !== undefined) query = query.where('id', '>', cursorAt(id('snapshot'), cursor));
    const { page, nextCursor } = paged(await store.all(query), limit, ({ id }) => id);
    return { snapshots: page.map(show), nextCursor };
  }

  function inherit(from: Snapshot, { sessionId, tenant }: { sessionId: string; tenant: string }): Step {
    const copied = ['tenant', 'seq', 'status', 'root', 'files', 'size_bytes', 'skipped'] as const;
    const times = ['created_at', 'ended_at'] as const;
    const query = sql
      .insertInto('snapshots')
      .columns(['id', 'session_id', 'epoch', 'stored_bytes', ...copied, ...times])
      .expression((build) =>
        build
          .selectFrom('snapshots')
          .select((row) => [
            row.val(newId('snapshot')).as('id'),
            row.val(sessionId).as('session_id'),
            // Its first assignment is epoch 1, and all that is written then is newer.
            row.lit(0).as('epoch'),
            row.lit(0).as('stored_bytes'),
          ])
          .select([...copied, ...times])
          .where('id', '=', from.id)
          .where('tenant', '=', tenant),
      );
    return { query, mustChange: { code: 'not_found', detail: `the snapshot ${from.id} is gone` } };
  }

  function timestamp(): string {
    return new Date(now()).toISOString();
  }

  return {
    take,
    look,
    nearest,
    list,
    inherit,
    async settled() {
      while (underWay.size > 0) {
        const all = [...underWay.values()];
        for (const { now: begin } of all) begin();
        await late.hurry(Promise.all(all.map(({ over }) => over)));
      }
    },
    forget: (sessionId) => ({ query: sql.deleteFrom('snapshots').where('session_id', '=', sessionId) }),
    blobs: {
      put: ({ tenant, content }) => blobs.put(tenant, content),
      get: ({ tenant, hash }) => blobs.get(tenant, hash),
    },
  };
}

function show(row: SnapshotRow): OperationResult<'session.snapshots.list'>['snapshots'][number] {
  const { id, seq, status, cause, detail, files } = row;
  const sizes = { files, sizeBytes: row.size_bytes, storedBytes: row.stored_bytes };
  return { id, seq, status, cause, detail, ...sizes, createdAt: row.created_at };
}

const columns = [
  'id',
  'tenant',
  'session_id',
  'epoch',
  'seq',
  'status',
  'root',
  'cause',
  'detail',
  'files',
  'size_bytes',
  'stored_bytes',
  'skipped',
  'created_at',
  'ended_at',
] as const;

const insertRow = prepared<SnapshotRow, (typeof columns)[number]>(columns, (sql, row) =>
  sql
    .insertInto('snapshots')
    .columns(columns)
    .expression((build) =>
      build
        .selectFrom('sessions')
        .select((of) => columns.map((column) => of.val(row[column]).as(column)))
        .where('sessions.id', '=', row.session_id),
    ),
);

function found({ id, session_id, seq, root, epoch }: SnapshotRow & { root: string }): Snapshot {
  return { id, sessionId: session_id, seq, root, epoch };
}
