/**
 * One session in memory: its state, its log and its turns. State is never set: events are recorded, and state is their
 * fold (I5). Decisions are taken synchronously against `state`, which is at most one commit ahead of the disk;
 * effects that others can see (a command, an answer) wait for the promise that `record` returns (I1).
 */
import type { ApprovalDecision } from '@atoll/protocol/approvals';
import type { Messages } from '@atoll/protocol/runner-link';
import type { SessionStatus } from '@atoll/protocol/statuses';
import type { SessionLog } from '../log/session-log.ts';
import type { Step, Store } from '../store/store.ts';
import type { SessionRow } from '../store/tables.ts';
import { countLog } from '../usage/counting.ts';
import type { Checkpoints } from './checkpoints.ts';
import { fold, type SessionState, type StateEvent } from './fold.ts';
import type { Reported } from './reported.ts';
import { reportedIn, updateSession } from './rows.ts';
import { holdsSandbox, move, type SessionTrigger, sessionTable } from './status.ts';

/** A turn from its acceptance to its `done`. */
export type LiveTurn = {
  readonly id: string;
  readonly inputSeq: number;
  readonly content: unknown;
  readonly contentBytes: number;
  readonly options: Record<string, unknown>;
  readonly traceparent: string;
  /** Another turn was running when this one was accepted. */
  readonly waited: boolean;
  startSeq: number | undefined;
  doneSeq: number | undefined;
  /** Somebody asked to stop it; before it runs, or while. */
  interrupted: boolean;
};

/** Where the answer goes: to that assignment alone, since the next one counts its requests anew (I6). */
export type AskedAt = { sandboxId: string; epoch: number; requestId: string };

/** Events besides those of state that may stand in a record. */
export type RecordEvent = StateEvent | { event: 'error' | 'report'; data: unknown };

export type RecordHow = {
  /** What a `report` among the events says. */
  change?: Partial<Reported>;
  /** The steps that make a session that is not there yet. */
  before?: readonly Step[];
  /** The runner's number of what is recorded. */
  line?: number;
};

export type StatusDetails = {
  cause?: string;
  detail?: string;
  turnId?: string;
  sandboxId?: string;
};

export class LiveSession {
  readonly row: SessionRow;
  readonly log: SessionLog;
  /** Accepted turns that have no `done` yet, by id; in order of acceptance. */
  readonly turns = new Map<string, LiveTurn>();
  /** Open approvals that the running executor waits for, by id. */
  readonly asked = new Map<string, AskedAt>();
  /** Decisions that no executor heard yet, by approval; each answers one call with that hash. */
  readonly decided = new Map<string, { callHash: string; decision: ApprovalDecision }>();
  /** Grows with every assignment (I6). */
  epoch: number;
  runnerId: string | null;
  /** Milliseconds since 1970 of the last thing a user or the agent did here. */
  lastUsedMs: number;
  updatedAt: string;
  endedAt: string | null;
  #state: SessionState;
  #durableState: SessionState;
  #reported: Reported;
  #durableReported: Reported;
  readonly #checkpoints: Checkpoints;
  readonly #store: Store;
  readonly #now: () => number;
  readonly #onBroken: (error: unknown) => void;
  /** Resolves when the files are no longer looked at for a snapshot: the next command may change them. */
  scanned: Promise<void> = Promise.resolve();
  /** Has that begin now: the next turn is about to wait for it. */
  scanNow: () => void = () => undefined;
  /** What snapshots had to leave out, as it was last told. */
  toldSkipped = '';
  /** Commands besides turns that run in its sandbox: it is not idle while there is one. */
  running = 0;
  /** It is not known yet whether its sandbox outlived a restart of this server: nothing can be asked of it. */
  awaited: PromiseWithResolvers<void> | undefined;
  /** What was decided of this sandbox's requests before that restart, by request: its executor may not have heard it. */
  readonly unheard = new Map<string, ApprovalDecision>();

  constructor(options: {
    row: SessionRow;
    state: SessionState;
    log: SessionLog;
    checkpoints: Checkpoints;
    store: Store;
    now: () => number;
    /** A record could not be written: this object is no longer the truth. */
    onBroken: (session: LiveSession, error: unknown) => void;
  }) {
    this.row = options.row;
    this.epoch = options.row.epoch;
    this.runnerId = options.row.runner_id;
    this.updatedAt = options.row.updated_at;
    this.endedAt = options.row.ended_at;
    this.log = options.log;
    this.#state = options.state;
    this.#durableState = options.state;
    this.#reported = reportedIn(options.row);
    this.#durableReported = this.#reported;
    this.#checkpoints = options.checkpoints;
    this.#store = options.store;
    this.#now = options.now;
    this.#onBroken = (error) => options.onBroken(this, error);
    this.lastUsedMs = options.now();
  }

  get id(): string {
    return this.row.id;
  }

  /** For decisions. */
  get state(): SessionState {
    return this.#state;
  }

  /** For everybody else: the fold of what is on disk (I1). */
  get durableState(): SessionState {
    return this.#durableState;
  }

  /** As `state` and `durableState`: the first for what is made from it, the second for everybody else. */
  get reported(): Reported {
    return this.#reported;
  }

  get durableReported(): Reported {
    return this.#durableReported;
  }

  get status(): SessionStatus {
    return this.#state.status;
  }

  /** The `status` event that `trigger` leads to; throws `illegal_transition`. */
  statusEvent(trigger: SessionTrigger, details: StatusDetails = {}): StateEvent {
    return { event: 'status', data: { status: move(sessionTable, this.status, trigger), ...details } };
  }

  /**
   * Records events and the rows that change with them in one commit. State changes at once, in call order; resolves
   * when durable. Without an event only the rows are written.
   */
  record(
    events: readonly RecordEvent[],
    also: readonly Step[] = [],
    { change, before = [], line }: RecordHow = {},
  ): Promise<void> {
    if (events.length === 0) return this.#store.commit(also);
    this.lastUsedMs = this.#now();
    this.updatedAt = new Date(this.lastUsedMs).toISOString();
    for (const event of events) {
      if (isStateEvent(event)) this.#state = fold(this.#state, event);
    }
    if (this.#state.status === 'ended' || this.#state.status === 'failed') this.endedAt ??= this.updatedAt;
    if (change) this.#reported = { ...this.#reported, ...change };
    const state = this.#state;
    const reported = this.#reported;
    const leaves = !holdsSandbox(state.status) && events.some(({ event }) => event === 'status');
    const checkpoint = this.#checkpoints.after(
      { seq: this.seqOf(events.length - 1), events: events.length, now: leaves || change !== undefined },
      { state, reported },
    );
    const counted = leaves ? countLog(this.row, this.updatedAt) : [];
    const all = [...also, ...checkpoint, ...counted];
    const latest = updateSession(this.#store, this);
    const rows = { before, also: all, latest, ...(line === undefined ? {} : { line }) };
    return this.log.append(events, rows).then(
      () => {
        this.#durableState = state;
        this.#durableReported = reported;
      },
      (error: unknown) => {
        // State is ahead of what is on disk, and will stay so.
        this.#onBroken(error);
        throw error;
      },
    );
  }

  /** Records messages of the executor, which change no state. */
  recordMessages(batch: { line: number; messages: Messages }): Promise<void> {
    const { bytes, spans } = batch.messages;
    const events = spans.length / 2;
    const appended = { seq: this.seqOf(events - 1), events, bytes: bytes.length };
    const also = this.#checkpoints.after(appended, { state: this.#state, reported: this.#reported });
    return this.log.appendMessages(batch, { also });
  }

  /** The seq that the n-th event of the next `record` will get. */
  seqOf(n: number): number {
    return this.log.lastSeq + 1 + n;
  }
}

function isStateEvent(event: RecordEvent): event is StateEvent {
  return event.event !== 'error' && event.event !== 'report';
}

export function runningTurn({ state, turns }: LiveSession): LiveTurn | undefined {
  return state.turn === null ? undefined : turns.get(state.turn);
}
