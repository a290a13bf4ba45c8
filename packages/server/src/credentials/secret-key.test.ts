import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeSecretKey, readSecretKey } from './secret-key.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-secret-key-'));
after(() => rmSync(root, { recursive: true, force: true }));

test('made once, for the owner alone, and never again', async () => {
  const file = join(root, 'secret.key');
  assert.equal(await readSecretKey(file), undefined);
  const keys = await Promise.all(Array.from({ length: 10 }, () => makeSecretKey(file)));
  assert.equal(new Set(keys.map((key) => Buffer.from(key).toString('hex'))).size, 1, 'one of them won');
  assert.deepEqual(await readSecretKey(file), keys[0]);
  assert.equal(keys[0]?.length, 32);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(root), ['secret.key'], 'no draft is left');
  const before = readFileSync(file, 'utf8');
  await makeSecretKey(file);
  assert.equal(readFileSync(file, 'utf8'), before);
});

test('a file that holds no key is refused without its text, and stays', async () => {
  const file = join(root, 'bad.key');
  for (const text of [
    '',
    'not a key',
    Buffer.alloc(31, 1).toString('base64'),
    'A'.repeat(44),
    '0'.repeat(64),
  ]) {
    writeFileSync(file, text);
    for (const use of [readSecretKey, makeSecretKey])
      await assert.rejects(use(file), ({ code, message }: { code?: string; message: string }) => {
        assert.equal(code, 'wrong_secret_key');
        assert.ok(text === '' || !message.includes(text));
        return true;
      });
    assert.equal(readFileSync(file, 'utf8'), text);
  }
});

test('a place that cannot be read or written says so', async () => {
  await assert.rejects(readSecretKey(root), { code: 'wrong_secret_key' });
  await assert.rejects(makeSecretKey(join(root, 'nowhere', 'secret.key')), { code: 'storage_failed' });
});
