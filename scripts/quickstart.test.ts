import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const left = () => readdirSync(tmpdir()).filter((name) => name.startsWith('atoll-quickstart-'));

test('the quickstart shows a session from deploy to the file it wrote, and leaves nothing behind', () => {
  const before = left();
  const { ANTHROPIC_API_KEY: _, ...environment } = process.env;
  const result = spawnSync('node', [join(import.meta.dirname, 'quickstart.ts')], {
    encoding: 'utf8',
    env: environment,
    timeout: 120_000,
  });
  assert.equal(result.status, 0, result.stdout + result.stderr);
  assert.match(result.stdout, /scripted stand-in/);
  assert.match(result.stdout, /● Write .*lagoon\.md/);
  assert.match(result.stdout, /files read ses_\w+ lagoon\.md\nAn atoll is a ring of reef/);
  assert.match(result.stdout, /atoll run hello/);
  assert.equal(result.stderr, '');
  assert.deepEqual(left(), before);
});
