/**
 * What changed in a session's workspace between two points. A point is the latest snapshot at or before it, as for a
 * fork; before the first one it is the agent's folder. Now is the files as they are: they are looked at where a runner
 * has them, which changes nothing and stops nobody.
 */
import { AtollError } from '@atoll/protocol/errors';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import type { RunnerLink } from '@atoll/protocol/runner-link';
import * as v from 'valibot';
import type { Agents } from '../agents/agents.ts';
import type { Places } from '../diff/compare.ts';
import { createDiffs, type Diffs } from '../diff/diff-thread.ts';
import type { TreeRef } from '../diff/thread-messages.ts';
import type { GetBlob } from '../diff/tree.ts';
import type { Access } from '../keys/access.ts';
import type { Log } from '../log/log.ts';
import type { Snapshots } from '../snapshots/snapshots.ts';
import type { Store } from '../store/store.ts';
import type { LiveSession } from './live-session.ts';
import type { LiveSessions } from './live-sessions.ts';
import { placeAt } from './state-at.ts';
import { hasReadySandbox, isOver } from './status.ts';

export type SessionDiffsOptions = {
  store: Store;
  log: Log;
  live: Pick<LiveSessions, 'get'>;
  agents: Pick<Agents, 'version' | 'source'>;
  snapshots: Pick<Snapshots, 'nearest' | 'look' | 'blobs'>;
  linkOf: (session: LiveSession) => RunnerLink;
  now: () => number;
};

export type SessionDiffs = {
  /** Rejects with `not_found`, also for an agent that is gone, and with `invalid_cursor`. */
  diff(
    access: Access,
    params: OperationParams<'session.diff'>,
    signal: AbortSignal,
  ): Promise<OperationResult<'session.diff'>>;
  close(): Promise<void>;
};

/** A tree, and what an answer calls it: the seq of its snapshot, 0 for the agent's folder, null for now. */
type Point<Seq = number | null> = { seq: Seq; tree: TreeRef };

const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const index = v.pipe(v.number(), v.integer(), v.minValue(0));
const tree = v.object({ kind: v.picklist(['snapshot', 'agent']), hash });
const place = v.tuple([index, index]);
/** The next page is of the same trees, whatever the points of the first one mean by then. */
const cursorSchema = v.object({
  from: v.object({ seq: index, tree }),
  to: v.object({ seq: v.nullable(index), tree }),
  places: v.object({ from: place, to: place }),
});
type Cursor = v.InferOutput<typeof cursorSchema>;

export function createSessionDiffs(options: SessionDiffsOptions): SessionDiffs {
  const { live, agents, snapshots, linkOf } = options;
  const diffs: Diffs = createDiffs();

  async function diff(
    access: Access,
    params: OperationParams<'session.diff'>,
    signal: AbortSignal,
  ): Promise<OperationResult<'session.diff'>> {
    const session = await live.get(access, params.sessionId);
    const begun = params.cursor === undefined ? undefined : readCursor(params.cursor);
    const { from, to } = begun ?? {
      from: await pointAt(session, params.from ?? 0),
      to: params.to === undefined ? await filesNow(session, signal) : await pointAt(session, params.to),
    };
    const get = { from: blobsOf(session, from.tree), to: blobsOf(session, to.tree) };
    const asked = { from: from.tree, to: to.tree, limit: params.limit, places: begun?.places };
    const { changes, next } = await diffs.page({ ...asked, get, signal }).catch((error: unknown) => {
      throw begun ? asCursorFault(error) : error;
    });
    const nextCursor = next === undefined ? null : writeCursor({ from, to, places: next });
    return { fromSeq: from.seq, toSeq: to.seq, changes, nextCursor };
  }

  async function pointAt(session: LiveSession, at: string | number): Promise<Point<number>> {
    const { seq } = await placeAt(options, session.row.log_id, at);
    return snapshotAt(session, seq);
  }

  async function snapshotAt({ id, row }: LiveSession, seq: number): Promise<Point<number>> {
    const snapshot = await snapshots.nearest(id, seq);
    if (snapshot) return { seq: snapshot.seq, tree: { kind: 'snapshot', hash: snapshot.root } };
    const { manifestHash } = await agents.version(row.tenant, row.agent, row.agent_version);
    return { seq: 0, tree: { kind: 'agent', hash: manifestHash } };
  }

  async function filesNow(session: LiveSession, signal: AbortSignal): Promise<Point> {
    await session.awaited?.promise;
    await session.log.until(() => hasReadySandbox(session.status) || isAtRest(session), signal);
    signal.throwIfAborted();
    const { id: sessionId, epoch } = session;
    const { tenant } = session.row;
    try {
      if (isOver(session.status) || session.runnerId === null) return latest(session);
      const root = await snapshots.look({ sessionId, tenant, epoch, link: linkOf(session) });
      return { seq: null, tree: { kind: 'snapshot', hash: root } };
    } catch (error) {
      if (hasReadySandbox(session.status)) throw error;
      // No runner has its files any more, and nothing has changed them since the last snapshot.
      return latest(session);
    }
  }

  function isAtRest({ status }: LiveSession): boolean {
    return status === 'paused' || isOver(status);
  }

  function latest(session: LiveSession): Promise<Point> {
    return snapshotAt(session, session.log.lastSeq);
  }

  function blobsOf({ row: { tenant } }: LiveSession, { kind }: TreeRef): GetBlob {
    const blobs = kind === 'agent' ? agents.source.file : snapshots.blobs.get;
    return (name) =>
      blobs({ tenant, hash: name }).catch((cause: unknown) => {
        if (!(cause instanceof AtollError) || cause.code !== 'not_found') throw cause;
        throw new AtollError('snapshot_failed', 'what the files were there is not kept any more', { cause });
      });
  }

  return { diff, close: diffs.close };
}

/** Anybody can write one: what it leads to need not be a snapshot, nor be there. */
function asCursorFault(error: unknown): unknown {
  const isFault = error instanceof AtollError && error.code === 'snapshot_failed';
  return isFault ? new AtollError('invalid_cursor', error.detail, { cause: error }) : error;
}

function writeCursor(cursor: { from: Point; to: Point; places: Places }): string {
  return Buffer.from(JSON.stringify(cursor)).toString('base64url');
}

function readCursor(text: string): Cursor {
  try {
    return v.parse(cursorSchema, JSON.parse(Buffer.from(text, 'base64url').toString()));
  } catch (cause) {
    throw new AtollError('invalid_cursor', 'the cursor is not one of a diff', { cause });
  }
}
