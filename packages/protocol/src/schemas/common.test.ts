import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from '../parse.ts';
import { env, id, time } from './common.ts';

test('an id of another kind is told in a sentence', () => {
  assert.throws(() => parse(id('approval'), 'ses_1'), /must be an approval id/);
  assert.throws(() => parse(id('session'), 'ses_1'), /must be a session id/);
});

test('a time is one that there is, in a form that is read as it is meant', () => {
  for (const good of ['2024-02-29T23:59:59.999Z', '2026-02-28 09:00:00+01:00', '0000-01-01T00:00:00-0730'])
    assert.equal(parse(time, good), good);
  const days = ['2026-02-29', '2026-02-30', '2026-04-31', '2026-11-31', '0000-00-00', '2026-13-01'];
  const others = ['2026-02-28T24:00:00Z', '2026-02-28T09:00:00+02', '2026-02-28T09:00:00 +02:00'];
  for (const bad of [...days.map((day) => `${day}T00:00:00Z`), ...others, '2026-02-28T09:00:00'])
    assert.throws(() => parse(time, bad), { code: 'invalid_request' }, bad);
});

test('variables are so many and so large that a process can start with them', () => {
  const of = (count: number, value: string) =>
    Object.fromEntries(Array.from({ length: count }, (_, at) => [`V${100 + at}`, value]));
  for (const good of [of(256, 'x'), of(16, 'x'.repeat(32 * 1024 - 4))])
    assert.deepEqual(parse(env, good), good);
  assert.throws(() => parse(env, of(257, 'x')), /at most 256 variables/);
  for (const bad of [of(16, 'x'.repeat(32 * 1024 - 3)), of(9, 'é'.repeat(32 * 1024))])
    assert.throws(() => parse(env, bad), /at most 512 KiB in all/);
});
