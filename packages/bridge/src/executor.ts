/**
 * The plug point for AI frameworks: one executor drives one session's agent inside the sandbox. What every
 * executor has in common (one turn at a time, the deadline of an interrupt) is in `turns.ts`; what is its own is
 * in its file below `executors/`; `executors.ts` chooses. The contract suite is `executor.contract.ts`.
 */
import type { ExecutorSettings, QueryOptions } from '@atoll/protocol/runner-link';
import type { Approve } from './approvals.ts';
import type { Children } from './children.ts';
import type { Timers } from './timers.ts';

export type Turn = { turnId: string; content: unknown; options: QueryOptions };

/** Why a turn did not complete (I10). */
export type TurnCause =
  | 'executor_unavailable'
  | 'executor_crashed'
  | 'executor_protocol'
  | 'executor_failed'
  | 'resume_failed'
  | 'max_turns'
  | 'max_budget'
  | 'max_tokens'
  | 'refusal'
  | 'auth_required'
  | 'model_error'
  | 'interrupted';

export type TurnEnd = {
  status: 'completed' | 'failed' | 'interrupted';
  stopReason?: string;
  cause?: TurnCause;
  detail?: string;
  executorSessionId?: string;
  usage?: Record<string, unknown>;
};

/** What is said of a fork whose executor cannot branch its conversation off. */
export const SAME_NAME =
  'this agent cannot branch a conversation off: the fork goes on with a copy of it under its parent’s name, and shares what the agent keeps outside of the sandbox';

export type Executor = {
  /** Starts what can be started before the first query. A failure shows at that query, never here. */
  warm(): void;
  /**
   * The executor session the first query goes on with. Called before any query. With `branches` it is another session's,
   * and what follows gets a name of its own where that can be.
   */
  resume(executorSessionId: string, how: { branches: boolean }): void;
  /** Runs one turn to its end. An agent's failure is a TurnEnd; it rejects only for a bug of ours. */
  query(turn: Turn): Promise<TurnEnd>;
  /** Asks the running turn to end soon; its query then ends however it ends. */
  interrupt(): void;
  /** Ends the executor's processes at once. A running query ends `failed`; the next one starts anew. */
  kill(): void;
  /** Ends the executor's processes, with some time to save what they hold. */
  stop(): Promise<void>;
};

/** Where an executor's output goes. */
export type Output = {
  /**
   * Sends whole `message` lines. With `latin1` every char of `lines` is one byte of the UTF-8 to be sent, so that
   * the hot path neither decodes nor encodes. Returns a promise when the caller must wait before it sends more
   * (I9), and undefined when it need not.
   */
  messages(lines: string, encoding: 'utf8' | 'latin1'): Promise<void> | undefined;
  /** What the executor wrote to its stderr; bounded by the receiver. */
  log(text: string): void;
};

export type ExecutorContext = {
  settings: ExecutorSettings;
  workspace: string;
  /** The environment of the executor's processes; holds no credential (I7). */
  env: Readonly<Record<string, string | undefined>>;
  output: Output;
  approve: Approve;
  children: Children;
  timers: Timers;
};

export type MakeExecutor = (context: ExecutorContext) => Executor;
