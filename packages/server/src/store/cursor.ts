/** Where a list goes on: its cursor is what the page before ended with, so what no page can end with is refused. */
import { parse } from '@atoll/protocol/parse';
import type * as v from 'valibot';

/** Throws `invalid_cursor` for what is no `place` of the list. */
export function cursorAt<S extends v.GenericSchema>(place: S, cursor: unknown): v.InferOutput<S> {
  return parse(place, cursor, { code: 'invalid_cursor', what: 'cursor' });
}
