/**
 * What happened in one simulated run, in the order in which it truly happened, as plain data. It is written by the far
 * ends of the simulation (the disk, the executors, the readers, the network, whoever breaks things), never by the
 * code that is tested; `auditor.ts` judges it and knows nothing else.
 *
 * Ids are texts that only have to be compared. `data` is the text of an event, byte for byte; every message that an
 * executor says is another text.
 */
export type Trace = readonly TraceEntry[];

/** `at`: milliseconds of simulated time since the run began. Never falls. */
export type TraceEntry = { readonly at: number } & Happening;

export type Happening =
  | DiskEntry
  | ExecutorEntry
  | SandboxEntry
  | ReaderEntry
  | ClientEntry
  | FaultEntry
  | FinalEntry;

export type LoggedEvent = { readonly seq: number; readonly event: string; readonly data: string };

/** One commit of a session's log: durable from here on. What was not committed when its coordinator crashed is not here. */
export type DiskEntry = {
  readonly kind: 'appended';
  readonly session: string;
  /** The assignment that the writer wrote under. */
  readonly epoch: number;
  /** Which coordinator wrote: 1, and one more after each crash. */
  readonly coordinator: number;
  readonly events: readonly LoggedEvent[];
};

/** What an executor in a sandbox did, whether or not anybody heard of it. */
export type ExecutorEntry =
  /** It was handed a message. */
  | { readonly kind: 'given'; readonly of: Assignment; readonly turn: string; readonly content: string }
  /** It said its n-th message (from 1) of that turn. */
  | {
      readonly kind: 'said';
      readonly of: Assignment;
      readonly turn: string;
      readonly n: number;
      readonly data: string;
    }
  /** It ended the turn by itself, after so many messages. */
  | {
      readonly kind: 'finished';
      readonly of: Assignment;
      readonly turn: string;
      readonly status: 'completed' | 'failed' | 'interrupted';
      readonly said: number;
    }
  /** Something of it reached the world outside: its runner's gateway let it pass. */
  | { readonly kind: 'acted'; readonly of: Assignment; readonly turn: string };

/** `session` is null for a sandbox of no session. */
export type Assignment = {
  readonly runner: string;
  readonly sandbox: string;
  readonly session: string | null;
  readonly epoch: number;
};

export type SandboxEntry =
  /** Its processes run. */
  | { readonly kind: 'began'; readonly of: Assignment }
  /** Its processes were stopped where they stood, and may go on. */
  | { readonly kind: 'stood_still'; readonly of: Assignment }
  | { readonly kind: 'went_on'; readonly of: Assignment }
  /** Nothing of it runs any more. */
  | { readonly kind: 'gone'; readonly of: Assignment; readonly cause: string };

/** A reader is one who wants to have read a log, however often its connection breaks. `seq` begins after `after`. */
export type ReaderEntry =
  | {
      readonly kind: 'reader_began';
      readonly reader: string;
      readonly session: string;
      /** `log`: all after `after`. `turn`: what the stream of one message shows, from its `input` to its `done`. */
      readonly wants: 'log' | 'turn';
      readonly after: number;
    }
  | { readonly kind: 'reader_got'; readonly reader: string; readonly event: LoggedEvent }
  /** `finished`: it was told that there is no more. `left`: it did not want to know more. `failed`: it was told an error. */
  | {
      readonly kind: 'reader_ended';
      readonly reader: string;
      readonly how: 'finished' | 'left' | 'failed';
      readonly detail?: string;
    };

/** What clients asked, and how it came out for them. */
export type ClientEntry =
  /** A message: `content` is another text for each, and the same again when it is sent again with its `key`. */
  | {
      readonly kind: 'sent';
      readonly session: string;
      readonly key: string;
      readonly content: string;
    }
  /** The client was told that it is that turn. */
  | { readonly kind: 'accepted'; readonly session: string; readonly key: string; readonly turn: string }
  /** The client was told that it is none, and why. */
  | { readonly kind: 'refused'; readonly session: string; readonly key: string; readonly code: string }
  /** Any call; each is to be over some time. */
  | { readonly kind: 'asked'; readonly call: string; readonly what: string }
  /** `error`: a code, or `unreachable`, where nobody knows what became of it. Absent: it was done. */
  | { readonly kind: 'answered'; readonly call: string; readonly error?: string };

/** What was broken on purpose, and when it was whole again. */
export type FaultEntry =
  /** Up for the first time, or again with nothing but what is on its disk. */
  | { readonly kind: 'up'; readonly node: string }
  /** All that it had in memory is gone; of a runner, its sandboxes too. */
  | { readonly kind: 'crashed'; readonly node: string }
  /** The whole machine stands still, and its clock goes on. */
  | { readonly kind: 'suspended'; readonly node: string }
  | { readonly kind: 'woke'; readonly node: string }
  /** Nothing gets from one to the other; the other way round may go on. */
  | { readonly kind: 'cut'; readonly from: string; readonly to: string }
  | { readonly kind: 'joined'; readonly from: string; readonly to: string }
  /** A runner was told that it may act: until then, counted from when it asked. */
  | { readonly kind: 'leased'; readonly node: string; readonly until: number }
  /** By its own count a runner's lease is over, or it runs again. */
  | { readonly kind: 'expired'; readonly node: string }
  | { readonly kind: 'renewed'; readonly node: string }
  /** Nothing is broken from here on. */
  | { readonly kind: 'healed' };

/** What is there when all has come to rest after healing: what the API says of it. */
export type FinalEntry =
  /**
   * A message to a session that is not over, after all has come to rest. `usable`: it was accepted and its turn completed.
   * Of one that is over: a message was refused.
   */
  | {
      readonly kind: 'probed';
      readonly session: string;
      readonly over: boolean;
      readonly usable: boolean;
      readonly detail: string;
    }
  | {
      readonly kind: 'session_is';
      readonly session: string;
      readonly status: string;
      readonly cause: string | null;
      readonly detail: string | null;
      readonly lastSeq: number;
    }
  | {
      readonly kind: 'job_is';
      readonly job: string;
      readonly type: string;
      readonly status: string;
      readonly cause: string | null;
      readonly detail: string | null;
    }
  | {
      readonly kind: 'sandbox_is';
      readonly sandbox: string;
      readonly status: string;
      readonly cause: string | null;
      readonly detail: string | null;
    };
