/**
 * Sessions that a restart of this server does not end: their sandboxes are on runners elsewhere, which go on by
 * themselves for as long as their lease runs, and hold what was not acknowledged.
 *
 * Such a session: `awaited`, from the start on: it is what its log says, takes messages, and asks nothing of its sandbox →
 * `adopted`, when its runner registered and holds that sandbox: under the same epoch (I6) its turn goes on after the
 * last line on disk; or lost, when its runner came without it, or did not come in time.
 */
import type { SandboxInventory } from '@atoll/protocol/runner-link';
import { childTraceparent } from '@atoll/protocol/trace';
import { eventsNamed } from '../log/frames.ts';
import type { RemoteLink } from '../runners/remote-link.ts';
import type { Snapshots } from '../snapshots/snapshots.ts';
import type { Store } from '../store/store.ts';
import type { TurnRow } from '../store/tables.ts';
import { countLostSandboxes } from '../usage/counting.ts';
import { askedIn } from './approvals.ts';
import { type LiveSession, type LiveTurn, runningTurn } from './live-session.ts';
import { contentBytes } from './new-turn.ts';
import { selectOpenTurns } from './rows.ts';
import type { SandboxEnd } from './sandboxes.ts';
import type { Snapshotting } from './snapshotting.ts';
import { hasReadySandbox } from './status.ts';
import type { SandboxLoss, Turns } from './turns.ts';

export type Adoption = {
  /**
   * Finds out which they are, before any session is loaded. Resolves with their sandboxes. `seen`: when the server before
   * this one was last seen at work.
   */
  begin(seen: string | null): Promise<readonly string[]>;
  /** Of a session that is being loaded. */
  awaits(sessionId: string): boolean;
  /** Brings a session, loaded with the fold of its log, back to what it was. */
  revive(session: LiveSession): Promise<void>;
  /** What becomes of it is known, and whoever waits goes on. */
  known(session: LiveSession): void;
  /** The places of a runner that is about to be there which they have. */
  placesOn(runnerId: string): number;
  /** That runner is there, and holds these. */
  adopt(link: RemoteLink, there: readonly SandboxInventory[]): Promise<void>;
  /** Loses those whose runner is not there. */
  endAbsent(): Promise<void>;
  /** Loses all that still wait: theirs does not say what it holds. */
  endAll(): Promise<void>;
};

/** Every line that a command may still say. */
const ALL_LINES = Number.MAX_SAFE_INTEGER;
/** As many as a runner holds of one sandbox. It may tell any number, and each is a request to it. */
const MAX_DROPPED = 256;
const CAME_WITHOUT = { cause: 'runner_lost', detail: 'The runner came back without this sandbox.' };
const STAYED_AWAY = {
  cause: 'runner_lost',
  detail: 'The runner of this session did not come back after the server was started again.',
};

export function createAdoption(options: {
  store: Store;
  turns: Pick<Turns, 'goOn' | 'advance'>;
  isThere: (runnerId: string) => boolean;
  /** Ends the turn, and pauses the session. Never rejects. */
  lose: (session: LiveSession, end: SandboxEnd & Partial<SandboxLoss>) => Promise<void>;
  snapshots: Pick<Snapshots, 'nearest'>;
  snapshotting: Pick<Snapshotting, 'afterTurn'>;
}): Adoption {
  const { store, turns, isThere, snapshots, snapshotting } = options;
  let expected = new Set<string>();
  const waiting = new Set<LiveSession>();
  /** Of them, those that nobody takes back any more. */
  const losing = new WeakSet<LiveSession>();
  let lastSeen: string | null = null;

  function known(session: LiveSession): void {
    waiting.delete(session);
    session.awaited?.resolve();
    session.awaited = undefined;
  }

  /** Nobody else has found out meanwhile what becomes of it. */
  const isOpen = (session: LiveSession) => waiting.has(session) && !losing.has(session);
  /** It may have been ended or paused meanwhile. */
  const isHeld = (session: LiveSession) => isOpen(session) && hasReadySandbox(session.status);

  async function lose(session: LiveSession, end: SandboxEnd): Promise<void> {
    if (!isOpen(session)) return;
    losing.add(session);
    const { sandboxId } = session.state;
    if (hasReadySandbox(session.status) && sandboxId !== null)
      // Nobody knows when it ended: the time since then is nobody's. What cannot be written now counts until now.
      await store.commit(countLostSandboxes(lastSeen, { only: sandboxId })).catch(() => undefined);
    // It may have another sandbox by now.
    if (!waiting.has(session)) return;
    known(session);
    await options.lose(session, { status: 'interrupted', ...end });
    turns.advance(session);
  }

  async function takeBack(link: RemoteLink, session: LiveSession, found: SandboxInventory): Promise<void> {
    const turn = runningTurn(session);
    dropOthers(link, found, turn);
    if (turn) await takeBackTurn(link, session, { turn, began: found.commands.includes(turn.id) });
    else {
      await catchUp(session);
      if (isOpen(session)) goesOn(session);
    }
  }

  function goesOn(session: LiveSession): void {
    known(session);
    turns.advance(session);
  }

  /** The restart may have come before the snapshot of the last turn. */
  async function catchUp(session: LiveSession): Promise<void> {
    const query = store.sql
      .selectFrom('turns')
      .select((of) => of.fn.max('done_seq').as('seq'))
      .where('session_id', '=', session.id);
    const { seq = null } = (await store.first(query)) ?? {};
    const taken = await snapshots.nearest(session.id, session.log.lastSeq);
    if (seq !== null && (taken?.seq ?? 0) < seq && isHeld(session))
      snapshotting.afterTurn(session, seq, Promise.resolve());
  }

  async function takeBackTurn(
    link: RemoteLink,
    session: LiveSession,
    { turn, began }: { turn: LiveTurn; began: boolean },
  ): Promise<void> {
    const asked = await askedIn(store, session);
    if (!isOpen(session)) return;
    if (!isHeld(session) || turn.doneSeq !== undefined) return goesOn(session);
    for (const { requestId, decision } of asked)
      if (decision && decision.decision !== 'cancelled') session.unheard.set(requestId, decision);
    const at = { sandboxId: session.state.sandboxId ?? '', epoch: session.epoch };
    known(session);
    if (turn.interrupted && !began) return turns.goOn(session, turn, undefined);
    turns.goOn(session, turn, (command) => link.reattach(command, session.log.line));
    for (const [requestId, decision] of session.unheard) untold(link.decide({ ...at, requestId, decision }));
  }

  return {
    async begin(seen) {
      lastSeen = seen;
      const found = await outliving(store);
      expected = new Set(found.map(({ id }) => id));
      return found.map(({ sandboxId }) => sandboxId);
    },
    awaits: (sessionId) => expected.has(sessionId),
    async revive(session) {
      expected.delete(session.id);
      for (const turn of await openTurns(store, session)) session.turns.set(turn.id, turn);
      const { sandboxId } = session.state;
      for (const { id, requestId, open } of await askedIn(store, session))
        if (open && sandboxId !== null) session.asked.set(id, { sandboxId, epoch: session.epoch, requestId });
      session.awaited = Promise.withResolvers();
      waiting.add(session);
    },
    known,
    placesOn: (runnerId) =>
      [...waiting].filter((session) => session.runnerId === runnerId && hasReadySandbox(session.status))
        .length,
    async adopt(link, there) {
      const held = [...waiting].filter(({ runnerId }) => runnerId === link.runnerId);
      for (const session of held) {
        const { sandboxId, turn } = session.state;
        const found = there.find(({ id, epoch }) => id === sandboxId && epoch === session.epoch);
        const speaks =
          found && (found.status !== 'ended' || (turn !== null && found.commands.includes(turn)));
        if (speaks && isHeld(session)) await takeBack(link, session, found);
        else await lose(session, CAME_WITHOUT);
      }
    },
    async endAbsent() {
      const absent = [...waiting].filter(({ runnerId }) => runnerId === null || !isThere(runnerId));
      await Promise.all(absent.map((session) => lose(session, STAYED_AWAY)));
    },
    async endAll() {
      await Promise.all([...waiting].map((session) => lose(session, STAYED_AWAY)));
    },
  };
}

/** Those whose sandbox was ready on a runner in another process. */
async function outliving(store: Store): Promise<{ id: string; sandboxId: string }[]> {
  const query = store.sql
    .selectFrom('sessions')
    .innerJoin('sandboxes', 'sandboxes.id', 'sessions.sandbox_id')
    .innerJoin('runners', 'runners.id', 'sandboxes.runner_id')
    .select(['sessions.id', 'sandboxes.id as sandboxId'])
    .where('sessions.status', 'in', ['idle', 'running', 'waiting'])
    .where('sandboxes.status', '=', 'ready')
    .where('sandboxes.ended_at', 'is', null)
    .whereRef('sandboxes.epoch', '=', 'sessions.epoch')
    .where('runners.link', '!=', 'local');
  return store.all(query);
}

/** As they were accepted. */
async function openTurns(store: Store, session: LiveSession): Promise<LiveTurn[]> {
  const rows = await store.all(selectOpenTurns(store, session.id));
  return Promise.all(rows.map((row) => openTurn(session, row)));
}

type Input = { content: unknown; options?: Record<string, unknown> };

async function openTurn(session: LiveSession, row: TurnRow): Promise<LiveTurn> {
  const [chunk] = await session.log.read(row.input_seq - 1);
  const inputs = chunk ? [...eventsNamed(chunk, ['input'])] : [];
  const input = inputs.find(({ seq }) => seq === row.input_seq);
  const { content, options = {} } = JSON.parse(Buffer.from(input?.data ?? '{}').toString()) as Input;
  return {
    id: row.id,
    inputSeq: row.input_seq,
    content,
    contentBytes: contentBytes(content),
    options,
    traceparent: childTraceparent(undefined),
    waited: true,
    startSeq: row.start_seq ?? undefined,
    doneSeq: undefined,
    interrupted: false,
  };
}

/** Commands whose readers went with the server before: shell commands are stopped, and what they say is not held. */
function dropOthers(
  link: RemoteLink,
  { id: sandboxId, epoch, commands }: SandboxInventory,
  turn: LiveTurn | undefined,
): void {
  for (const commandId of commands.filter((id) => id !== turn?.id).slice(0, MAX_DROPPED)) {
    untold(link.cancel({ sandboxId, epoch, commandId }));
    link.acknowledge({ sandboxId, epoch, commandId, line: ALL_LINES });
  }
}

/** Nobody waits for it: a runner that is lost tells that otherwise. */
function untold(done: Promise<void>): void {
  done.catch(() => undefined);
}
