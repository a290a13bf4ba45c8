import assert from 'node:assert/strict';
import { test } from 'node:test';
import { looksLikeSecret, refuseSecrets } from './secrets.ts';

test('keys are known by their shape, whatever their name', () => {
  const keys = [
    `sk-ant-api03-${'a'.repeat(40)}`,
    `ghp_${'A1'.repeat(18)}`,
    `github_pat_${'x'.repeat(30)}`,
    `AKIA${'A'.repeat(16)}`,
    `xoxb-${'1'.repeat(20)}`,
    `AIza${'b'.repeat(35)}`,
    '-----BEGIN RSA PRIVATE KEY-----\nMIIE',
    'postgres://app:hunter22@db.internal/app',
    `atoll_${'k'.repeat(43)}`,
  ];
  for (const key of keys) assert.ok(looksLikeSecret('COLOR', key), key);
});

test('a name that says secret makes a long value one', () => {
  for (const name of ['API_KEY', 'GITHUB_TOKEN', 'DB_PASSWORD', 'client_secret', 'AWS_SECRET_ACCESS_KEY'])
    assert.ok(looksLikeSecret(name, 'correct-horse-battery'), name);
});

test('ordinary settings pass', () => {
  const plain: [string, string][] = [
    ['NODE_ENV', 'production'],
    ['MAX_TOKENS', '4096'],
    ['TOKENIZER', 'cl100k_base_long_name'],
    ['API_KEY', 'unset'],
    ['DATABASE_URL', 'postgres://localhost/app'],
    ['GREETING', 'sk-ip this one'],
    ['PATH_PREFIX', '/usr/local/bin:/opt/tools/bin'],
  ];
  for (const [name, value] of plain) assert.ok(!looksLikeSecret(name, value), name);
});

test('the refusal names the variable and the way out, and never the value', () => {
  const value = `sk-${'a'.repeat(40)}`;
  assert.throws(
    () => refuseSecrets({ COLOR: 'red', OPENAI: value }),
    ({ code, message }: { code: string; message: string }) =>
      code === 'secret_in_env' &&
      message.includes('env.OPENAI') &&
      message.includes('atoll credential set') &&
      !message.includes(value),
  );
});
