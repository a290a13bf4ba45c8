/** Pages of a list: a cursor is what the page before ended with, so what no page can end with is refused. */
import { parse } from '@atoll/protocol/parse';
import type * as v from 'valibot';

/** Throws `invalid_cursor` for what is no `place` of the list. */
export function cursorAt<S extends v.GenericSchema>(place: S, cursor: unknown): v.InferOutput<S> {
  return parse(place, cursor, { code: 'invalid_cursor', what: 'cursor' });
}

/** Of rows that were read with one more than `limit`, which tells that there is another page. */
export function paged<Row>(
  rows: readonly Row[],
  limit: number,
  cursorOf: (row: Row) => string,
): { page: readonly Row[]; nextCursor: string | null } {
  const page = rows.slice(0, limit);
  const last = rows.length > page.length ? page.at(-1) : undefined;
  return { page, nextCursor: last === undefined ? null : cursorOf(last) };
}
