import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from '../parse.ts';
import { id, time } from './common.ts';

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
