import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isExecutorSessionId } from './executor-session.ts';

test('an executor session id can stand in argv and in a file name', () => {
  for (const id of ['11111111-2222-4333-8444-555555555555', 'a', 'a:b_c.d', 'x'.repeat(128)])
    assert.ok(isExecutorSessionId(id), id);
  for (const id of ['', '--help', '..', 'a/b', 'a b', 'x'.repeat(129), 'a\n', 5, undefined])
    assert.ok(!isExecutorSessionId(id), String(id));
});
