import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endOfResult } from './result.ts';

test('a session id that cannot stand in argv is ignored, and the turn completes', () => {
  for (const session_id of ['--help', '../x', 5])
    assert.deepEqual(endOfResult({ session_id }, undefined), { status: 'completed' });
  assert.equal(endOfResult({ session_id: 'a-1' }, undefined).executorSessionId, 'a-1');
});
