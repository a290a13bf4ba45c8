import type { ErrorCode } from '@atoll/protocol/errors';
import type { Compilable, Kysely } from 'kysely';
import type { Tables } from './tables.ts';

/**
 * Rows: everything of the coordinator that is not an event. Callers build queries with `sql` (Kysely, the
 * store's own dialect) and hand them over; how they run, on which thread and grouped with what, is the store's.
 * Implementations: `sqlite.ts`; one contract suite, `store.contract.ts`.
 */
export type Store = {
  /** Builds queries in this store's dialect. It never executes anything by itself. */
  readonly sql: Kysely<Tables>;
  /** Reads what is committed. A read that starts after a `commit` resolved sees that commit. */
  all<Row>(query: Compilable<Row> | Statement): Promise<Row[]>;
  first<Row>(query: Compilable<Row> | Statement): Promise<Row | undefined>;
  /**
   * One unit: all steps or none, in order. Resolves when it survives kill -9 and power loss (I1). Units that
   * wait at the same time share one transaction and one fsync, yet fail alone.
   * Rejects with the code of the first `mustChange` step that changed nothing, or with `storage_failed`.
   */
  commit(steps: readonly Step[]): Promise<void>;
  close(): Promise<void>;
};

/** SQL written by hand in the store's dialect, where building it each time would cost more than running it. */
export type Statement = { sql: string; parameters: readonly unknown[] };

export type Step = {
  query: Compilable<unknown> | Statement;
  /** Compare-and-set: the step must change at least one row, else the whole unit is undone with this error. */
  mustChange?: { code: ErrorCode; detail?: string };
};
