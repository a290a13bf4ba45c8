/**
 * The time of the commit that a row is written in, as the log's chunks have it: ISO 8601, UTC, milliseconds. What is to be
 * found again by a moment needs it, since a row may wait for its commit.
 */
import type { Expression, ExpressionBuilder } from 'kysely';
import type { Tables } from './tables.ts';

export function commitTime<T extends keyof Tables>({
  fn,
  val,
}: Pick<ExpressionBuilder<Tables, T>, 'fn' | 'val'>): Expression<string> {
  return fn<string>('strftime', [val('%Y-%m-%dT%H:%M:%fZ'), val('now')]);
}
