import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { toAtollError } from './to-atoll-error.ts';

/** What is logged of it, and what leaves. */
function told(error: unknown) {
  const logged: { level: string; err: unknown }[] = [];
  const log = (level: string) => (about: unknown) =>
    void logged.push({ level, err: (about as { err?: unknown }).err });
  const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
  const { code, detail } = toAtollError(error, logger);
  return { logged, code, detail };
}

test('what is not ours leaves as internal, and is logged as it is', () => {
  const error = new Error('/var/lib/secret');
  const { logged, code, detail } = told(error);
  assert.deepEqual([code, logged], ['internal', [{ level: 'error', err: error }]]);
  assert.doesNotMatch(detail, /secret/);
});

test('a refusal that was meant is a warning without a stack, one with a cause an error with it', () => {
  assert.deepEqual(told(new AtollError('no_capacity', 'full')).logged, [{ level: 'warn', err: undefined }]);
  const cause = new Error('EIO');
  assert.deepEqual(told(new AtollError('storage_failed', 'no', { cause })).logged, [
    { level: 'error', err: cause },
  ]);
  const ours = new AtollError('internal', 'cannot be');
  assert.deepEqual(told(ours).logged, [{ level: 'error', err: ours }]);
  assert.deepEqual(told(new AtollError('not_found')).logged, []);
});
