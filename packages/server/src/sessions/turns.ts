/**
 * Turns: accepted → queued → running → ended.
 *
 * Stages: `accept` records the input (and, when the session is free, the start) in one commit → once durable the query
 * goes to the sandbox (I1) → its messages go into the log as they come, no faster than the disk takes them (I9) → its
 * end is recorded as `done`, together with the start of the next turn (I4).
 */
import { AtollError } from '@atoll/protocol/errors';
import type { EventData } from '@atoll/protocol/events';
import { newId } from '@atoll/protocol/ids';
import type { CommandEnd, CommandEvent, RunnerLink, SandboxCommand } from '@atoll/protocol/runner-link';
import type { Store } from '../store/store.ts';
import { countTurn } from '../usage/counting.ts';
import type { Approvals } from './approvals.ts';
import { type LiveSession, type LiveTurn, runningTurn } from './live-session.ts';
import { checkAcceptable, contentBytes, type NewTurn } from './new-turn.ts';
import { closeTurn, insertTurn, startTurn } from './rows.ts';
import { move, turnTable } from './status.ts';

export type TurnEnd = Pick<CommandEnd, 'status' | 'cause' | 'detail' | 'usage' | 'executorSessionId'>;

export type Turns = {
  /** Rejects with `session_ended`, `queue_full`, `cannot_steer`, `body_too_large`. Resolves when the input is durable. */
  accept(session: LiveSession, turn: NewTurn): Promise<LiveTurn>;
  /** Starts what can start now: the next turn of an idle session, or the resumption of a paused one that has one. */
  advance(session: LiveSession): void;
  /**
   * The running turn's command outlived a restart of this server; `events` attaches to it. Without them it was interrupted
   * before it began.
   */
  goOn(session: LiveSession, turn: LiveTurn, events: Attach | undefined): void;
  interrupt(session: LiveSession, options: { queued: boolean }): Promise<void>;
  /** Records the `done` of a turn that has none yet; the session's status is the caller's. */
  recordDone(session: LiveSession, turn: LiveTurn, end: TurnEnd): Promise<void>;
};

type Attach = (command: SandboxCommand) => AsyncIterable<CommandEvent>;

/** How a turn ends whose sandbox did. */
export type SandboxLoss = { status: CommandEnd['status']; cause: string; detail: string };

/** What a command came to, and that it is kept: nobody has to say it again. */
type Driven = { end: CommandEnd; acknowledge?: () => void };

export type TurnsOptions = {
  store: Store;
  now: () => number;
  approvals: Approvals;
  linkOf: (session: LiveSession) => RunnerLink;
  /** A paused session has a turn waiting. */
  resume: (session: LiveSession) => void;
  /** Its `done` is recorded, and on disk when that resolves. */
  onTurnEnded: (session: LiveSession, turn: LiveTurn, durable: Promise<void>) => void;
  /** The command ended because its sandbox did. */
  onSandboxLost: (session: LiveSession, end: SandboxLoss) => void;
  /** The log or store refused: the session in memory is no longer the truth. */
  onBroken: (session: LiveSession, error: unknown) => void;
};

export function createTurns(options: TurnsOptions): Turns {
  const { store, now, approvals, linkOf } = options;

  function accept(session: LiveSession, request: NewTurn): Promise<LiveTurn> {
    checkAcceptable(session, request);
    const turn: LiveTurn = {
      id: newId('turn'),
      inputSeq: session.seqOf(0),
      content: request.content,
      contentBytes: contentBytes(request.content),
      options: request.options,
      traceparent: request.traceparent,
      waited: session.state.turn !== null || session.state.queue.length > 0,
      startSeq: undefined,
      doneSeq: undefined,
      interrupted: false,
    };
    session.turns.set(turn.id, turn);
    const hasOptions = Object.keys(request.options).length > 0;
    const data = {
      turnId: turn.id,
      content: request.content as string,
      ...(hasOptions ? { options: request.options } : {}),
    };
    const durable = session.record(
      [{ event: 'input', data }],
      [insertTurn(store, newRow(session, turn, request))],
    );
    advance(session);
    return durable.then(() => turn);
  }

  function newRow(session: LiveSession, turn: LiveTurn, request: NewTurn) {
    return {
      id: turn.id,
      tenant: session.row.tenant,
      session_id: session.id,
      epoch: session.epoch,
      status: 'queued' as const,
      cause: null,
      detail: null,
      input_seq: turn.inputSeq,
      start_seq: null,
      done_seq: null,
      usage: null,
      partials: 0 as const,
      idempotency_key: request.idempotencyKey ?? null,
      request_hash: request.requestHash ?? null,
      created_at: new Date(now()).toISOString(),
      ended_at: null,
    };
  }

  function advance(session: LiveSession): void {
    const turn = nextTurn(session);
    if (!turn || session.awaited) return;
    if (session.status === 'paused') return options.resume(session);
    if (session.state.turn !== null || session.status !== 'idle') return;
    start(session, turn);
  }

  function start(session: LiveSession, turn: LiveTurn): void {
    turn.startSeq = session.seqOf(0);
    const row = startTurn(store, {
      session_id: session.id,
      id: turn.id,
      status: move(turnTable, 'queued', 'started'),
      start_seq: turn.startSeq,
      epoch: session.epoch,
    });
    const started = session.record([session.statusEvent('turn_started', { turnId: turn.id })], [row]);
    Promise.all([started, recordSaid(session)])
      .then(() => run(session, turn))
      .catch((error) => options.onBroken(session, error));
    // While the disk is at work.
    setImmediate(session.scanNow);
  }

  /** What the executor said before its first message, such as what its hooks did, in the commit of the turn's start. */
  async function recordSaid(session: LiveSession): Promise<void> {
    const { sandboxId } = session.state;
    const said =
      sandboxId === null ? [] : (linkOf(session).said?.({ sandboxId, epoch: session.epoch }) ?? []);
    if (said.length === 0) return;
    await Promise.all(said.map((event) => session.recordMessages(event)));
    // Whoever waits for it sees it before the agent is asked, which wakes its processes.
    await new Promise(setImmediate);
  }

  /** Runs a started turn to its end. Rejects only when the log does. */
  async function run(session: LiveSession, turn: LiveTurn): Promise<void> {
    await session.scanned;
    if (turn.interrupted || turn.doneSeq !== undefined) return settle(session, turn, interruptedEnd);
    return follow(session, turn, (command) => linkOf(session).command(command));
  }

  async function follow(session: LiveSession, turn: LiveTurn, events: Attach): Promise<void> {
    const { end, acknowledge } = await drive(session, turn, events);
    await settle(session, turn, end);
    // What ends with it is on disk, too, whoever recorded that: nobody has to say it again.
    const last = session.log.lastSeq;
    await session.log.until(() => session.log.durableSeq >= last, never);
    acknowledge?.();
  }

  async function settle(session: LiveSession, turn: LiveTurn, end: CommandEnd): Promise<void> {
    if (turn.doneSeq !== undefined) return;
    const { status, cause = 'killed', detail = 'the sandbox ended' } = end;
    if (end.sandboxEnded) options.onSandboxLost(session, { status, cause, detail });
    else await endTurn(session, turn, end);
  }

  /** Sends the query and feeds the log with what comes back. */
  async function drive(session: LiveSession, turn: LiveTurn, events: Attach): Promise<Driven> {
    const { sandboxId } = session.state;
    if (sandboxId === null) throw new AtollError('internal', 'a turn started without a sandbox');
    const { epoch } = session;
    const { traceparent } = turn;
    const query = { turnId: turn.id, content: turn.content, options: turn.options };
    const command = { method: 'query', params: query } as const;
    const of = { sandboxId, epoch, commandId: turn.id };
    let broken: unknown;
    try {
      const link = linkOf(session);
      const kept = (line: number) => link.acknowledge({ ...of, line });
      for await (const event of events({ ...of, traceparent, command })) {
        const { line } = event;
        if (event.kind === 'end') return { end: event, acknowledge: () => kept(line) };
        // The turn ended without its executor: whatever still comes belongs to nobody, and is not even read.
        if (session.epoch !== epoch || turn.doneSeq !== undefined) return { end: interruptedEnd };
        if (event.kind === 'messages')
          session.recordMessages(event).then(
            () => kept(line),
            (error) => {
              broken ??= error;
            },
          );
        else if (await recorded(session, turn, event)) kept(line);
        await session.log.ready();
        if (broken) throw broken;
      }
    } catch (error) {
      if (broken) throw broken;
      return { end: failure(error) };
    }
    return { end: failure(new AtollError('executor_failed', 'the command ended without saying how')) };
  }

  /** Whether its line stands in the log now. */
  async function recorded(session: LiveSession, turn: LiveTurn, event: CommandEvent): Promise<boolean> {
    if (event.kind === 'approval') return approvals.requested(session, turn, event);
    if (event.kind !== 'log') return false;
    const { text, line } = event;
    await session.record([{ event: 'report', data: { event_type: 'stderr', text } }], [], { line });
    return true;
  }

  async function endTurn(session: LiveSession, turn: LiveTurn, end: CommandEnd): Promise<void> {
    const done = recordDone(session, turn, end);
    const idle = session.record([session.statusEvent('turn_ended')]);
    options.onTurnEnded(session, turn, done);
    // In the same tick, so in the same commit.
    advance(session);
    await Promise.all([done, idle]);
  }

  function recordDone(session: LiveSession, turn: LiveTurn, end: TurnEnd): Promise<void> {
    if (turn.doneSeq !== undefined) return Promise.resolve();
    const from = turn.startSeq === undefined ? 'queued' : 'running';
    const closed = from === 'running' ? approvals.closing(session, end) : { events: [], rows: [] };
    turn.doneSeq = session.seqOf(closed.events.length);
    session.turns.delete(turn.id);
    const endedAt = new Date(now()).toISOString();
    const row = closeTurn(store, {
      session_id: session.id,
      id: turn.id,
      status: move(turnTable, from, end.status),
      cause: end.cause ?? null,
      detail: end.detail ?? null,
      done_seq: turn.doneSeq,
      usage: end.usage ? JSON.stringify(end.usage) : null,
      partials: end.status === 'completed' && turn.options.includePartialMessages === true ? 1 : 0,
      ended_at: endedAt,
    });
    const counted = countTurn(session.row, { usage: end.usage, endedAt });
    const data = { sessionId: session.id, turnId: turn.id, ...doneFields(end) };
    return session.record([...closed.events, { event: 'done', data }], [...closed.rows, row, ...counted]);
  }

  async function interrupt(session: LiveSession, { queued }: { queued: boolean }): Promise<void> {
    const waiting = session.state.queue.flatMap((id) => session.turns.get(id) ?? []);
    // While a paused session comes back, its first turn counts as the running one.
    const stopped = queued ? waiting : session.status === 'resuming' ? waiting.slice(0, 1) : [];
    const ended = stopped.map((turn) =>
      recordDone(session, turn, { status: 'interrupted', cause: 'interrupted', detail: ASKED_TO_STOP }),
    );
    const running = runningTurn(session);
    if (running && !running.interrupted) {
      running.interrupted = true;
      // Nothing on disk says that it was asked to stop: whoever asks hears of it when its runner was told.
      await session.awaited?.promise;
      const { sandboxId } = session.state;
      if (sandboxId !== null)
        await linkOf(session).cancel({ sandboxId, epoch: session.epoch, commandId: running.id });
    }
    await Promise.all(ended);
  }

  return {
    accept,
    advance,
    goOn(session, turn, events) {
      const over = events ? follow(session, turn, events) : settle(session, turn, interruptedEnd);
      over.catch((error) => options.onBroken(session, error));
    },
    interrupt,
    recordDone,
  };
}

/** What is there of it, in the order in which the event shows it. */
function doneFields(end: TurnEnd): Omit<EventData<'done'>, 'sessionId' | 'turnId'> {
  const { status, cause, detail, usage, executorSessionId } = end;
  return {
    status,
    ...(cause === undefined ? {} : { cause }),
    ...(detail === undefined ? {} : { detail }),
    ...(usage === undefined ? {} : { usage }),
    ...(executorSessionId === undefined ? {} : { executorSessionId }),
  };
}

const never = new AbortController().signal;
const ASKED_TO_STOP = 'Somebody asked for the turn to stop.';
const interruptedEnd: CommandEnd = {
  kind: 'end',
  status: 'interrupted',
  cause: 'interrupted',
  detail: ASKED_TO_STOP,
};

function nextTurn(session: LiveSession): LiveTurn | undefined {
  const [first] = session.state.queue;
  return first === undefined ? undefined : session.turns.get(first);
}

function failure(error: unknown): CommandEnd {
  if (error instanceof AtollError)
    return { kind: 'end', status: 'failed', cause: error.code, detail: error.detail };
  return { kind: 'end', status: 'failed', cause: 'internal', detail: 'the command failed inside Atoll' };
}
