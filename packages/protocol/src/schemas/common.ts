import * as v from 'valibot';
import { type IdKind, idPattern } from '../ids.ts';
import { isImageName } from '../image-name.ts';

/** Pieces that every operation is put together from. */

export const id = (kind: IdKind) =>
  v.pipe(v.string(), v.regex(idPattern(kind), `must be ${/^[aeiou]/.test(kind) ? 'an' : 'a'} ${kind} id`));

export const agentName = v.pipe(
  v.string(),
  v.regex(
    /^[a-z0-9][a-z0-9._-]{0,63}$/,
    'must be 1-64 of a-z, 0-9, ".", "_", "-", and begin with a letter or digit',
  ),
);

/** A day of UTC. */
export const day = v.pipe(v.string(), v.isoDate('must be a day, as 2026-02-28'), v.check(isDay, 'is no day'));

export const time = v.pipe(
  v.string(),
  v.isoTimestamp('must be an ISO 8601 time'),
  v.check(isTime, 'must be a time that there is, as 2026-02-28T09:00:00+01:00'),
);
export const count = v.pipe(v.number(), v.integer(), v.minValue(0));
export const seq = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));

const shortText = (max: number) =>
  v.pipe(v.string(), v.maxLength(max, `must have at most ${max} characters`));
export const label = shortText(256);
export const image = v.pipe(v.string(), v.check(isImageName, 'must be the name of an image'));
export const text = shortText(1024 * 1024);

/** No argument and no environment of a process can hold one. */
export const noNul = v.check((value: string) => !value.includes('\0'), 'must not hold NUL');

/** The schema of an object, which takes no array: to valibot alone, one without entries is an empty object. */
export function notArray<S extends v.GenericSchema>(schema: S): S {
  return {
    ...schema,
    '~run'(dataset, config) {
      if (!Array.isArray(dataset.value)) return schema['~run'](dataset, config);
      v._addIssue(this, 'type', dataset, config);
      return dataset as object as v.FailureDataset<v.BaseIssue<unknown>>;
    },
  };
}

/** A process has room for 2 MiB of arguments and variables, and an agent's may come to those of a session. */
const MAX_ENV_BYTES = 512 * 1024;

/** Names of environment variables. */
export const env = v.pipe(
  notArray(
    v.record(
      v.pipe(v.string(), v.regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'must be a variable name')),
      v.pipe(shortText(32 * 1024), noNul),
    ),
  ),
  v.check((entries) => Object.keys(entries).length <= 256, 'at most 256 variables'),
  v.check((entries) => bytesOf(entries) <= MAX_ENV_BYTES, 'at most 512 KiB in all'),
);

export const jsonObject = notArray(v.record(v.string(), v.unknown()));

/** `limit` and `cursor` of every list. */
export const page = {
  limit: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1000)), 100),
  cursor: v.optional(shortText(1024)),
};

export const nextCursor = v.nullable(v.string());

/** Why something ended: a code, and a sentence for people (I10). */
export const cause = { cause: v.nullable(v.string()), detail: v.nullable(v.string()) };

/** `Date` takes February 30th for March 2nd. */
function isDay(value: string): boolean {
  const ms = Date.parse(`${value}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(value);
}

/** ISO 8601 has more ways to write an offset than `Date` can read. */
function isTime(value: string): boolean {
  return isDay(value.slice(0, 10)) && !Number.isNaN(Date.parse(value));
}

function bytesOf(entries: Readonly<Record<string, string>>): number {
  return new TextEncoder().encode(Object.entries(entries).flat().join('')).length;
}
