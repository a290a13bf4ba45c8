import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';

const main = join(import.meta.dirname, 'main.mjs');
const scratch = mkdtempSync(join(tmpdir(), 'atoll-cli-test-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

type Outcome = { code: number | null; stdout: string; stderr: string };

/** Runs the binary in an empty directory with nothing of our environment but the path. */
function atoll(words: readonly string[], env: Record<string, string> = {}, stdin = ''): Promise<Outcome> {
  const child = spawn(process.execPath, [main, ...words], {
    cwd: scratch,
    env: { PATH: process.env.PATH, HOME: scratch, ...env },
  });
  const outcome: Outcome = { code: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    outcome.stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    outcome.stderr += chunk;
  });
  child.stdin.end(stdin);
  return new Promise((resolve) => child.on('close', (code) => resolve({ ...outcome, code })));
}

test('--version and --help', async () => {
  assert.deepEqual(await atoll(['--version']), { code: 0, stdout: 'atoll 0.1.0\n', stderr: '' });
  assert.equal((await atoll(['--version', '--json'])).stdout, '{"version":"0.1.0"}\n');
  const help = await atoll(['session', 'send', '--help']);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /Examples:/);
});

test('exit codes tell bad usage, no server, and failure apart', async () => {
  const usage = await atoll(['deploy']);
  assert.deepEqual(usage, { code: 2, stdout: '', stderr: 'DIR is missing\nSee: atoll deploy --help\n' });

  const away = await atoll(['agents'], { ATOLL_SERVER: 'http://127.0.0.1:1' });
  assert.equal(away.code, 3);
  assert.match(away.stderr, /^cannot reach http:\/\/127\.0\.0\.1:1: .*\nStart a server with: atoll start/);

  const json = await atoll(['agents', '--json', '--server', 'http://127.0.0.1:1']);
  assert.equal((JSON.parse(json.stderr) as { error: { code: string } }).error.code, 'unreachable');

  const missing = await atoll(['deploy', 'no-such-folder']);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /there is no such folder\n$/);
});

test('a bad configuration file is told in one line', async () => {
  const file = join(scratch, 'atoll.config.json');
  writeFileSync(file, '{"port": "many"}');
  const result = await atoll(['start']);
  rmSync(file);
  assert.equal(result.code, 2);
  assert.match(result.stderr, /^atoll\.config\.json: port must be a whole number/);
});

test('start refuses an address of the world without being asked', async () => {
  const result = await atoll(['start', '--host', '0.0.0.0']);
  assert.equal(result.code, 2);
  assert.match(result.stderr, /--allow-remote/);
});

test('the admin key is found for this machine’s server, and offered to no other', async (t) => {
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(401, { 'content-type': 'application/problem+json' });
    response.end(JSON.stringify(new AtollError('unauthorized', 'not that one').toProblem()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  writeFileSync(join(scratch, 'admin.key'), 'local-secret\n');
  const env = { ATOLL_DATA_DIR: scratch };

  const refused = await atoll(['agents', '--server', `http://127.0.0.1:${port}`], env);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^not that one \(unauthorized\)\nGive a key/);
  const given = { ...env, ATOLL_API_KEY: 'given' };
  const json = await atoll(['agents', '--json', '--server', `http://127.0.0.1:${port}`], given);
  assert.deepEqual(JSON.parse(json.stderr), { error: { code: 'unauthorized', detail: 'not that one' } });
  // Another name of the same machine stands for another machine.
  await atoll(['agents', '--server', `http://0.0.0.0:${port}`], env);
  assert.deepEqual(seen, ['Bearer local-secret', 'Bearer given', undefined]);
});
