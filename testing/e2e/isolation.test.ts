/**
 * What a session's sandbox finds and what it can use up, through a real server: no secret of the server anywhere it can
 * look, and every limit ends the turn with its cause while another session works. The attacks on the kernel's walls are
 * in the driver's own test.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, processesWith, startAtoll, until } from '../atoll.ts';
import { backwards, searchMemory, turnOf } from '../attack.ts';
import { createAsk } from '../raw-http.ts';

const MODEL_KEY = `sk-ant-api03-${'k'.repeat(40)}`;
const HOST_MARK = 'only-in-the-environment-of-the-host';
const limits = { memoryMb: 256, processes: 64, diskMb: 32 };

let atoll: Atoll;
let bystander: string;
before(async () => {
  atoll = await startAtoll({ env: { ANTHROPIC_API_KEY: MODEL_KEY, ATOLL_TEST_MARK: HOST_MARK } });
  await deployProgram(atoll.client, 'small', versatile, { limits });
  bystander = await open();
});
after(() => atoll[Symbol.asyncDispose]());

async function open(): Promise<string> {
  return (await atoll.client.call('session.create', { agent: 'small' })).session.id;
}

async function exec(sessionId: string, command: string) {
  return atoll.client.call('session.exec', { sessionId, command, timeoutMs: 30_000 });
}

/** While a turn waits, the sandbox goes over a limit by this command. Gives how the turn ended. */
async function overLimit(sessionId: string, command: string) {
  const turn = turnOf(atoll, sessionId, 'wait');
  await until(
    async () => (await atoll.client.call('session.show', { sessionId })).session.status === 'running',
  );
  const used = exec(sessionId, command).catch(() => undefined);
  const other = await turnOf(atoll, bystander, 'emit 100');
  assert.equal(other.done.status, 'completed', 'another session works meanwhile');
  const { done } = await turn;
  await used;
  return done;
}

test('no secret of the server is in environment, arguments, files or memory', async () => {
  const id = await open();
  await atoll.client.writeFile(id, 'search.pl', new TextEncoder().encode(searchMemory));
  for (const secret of [MODEL_KEY, HOST_MARK, atoll.key]) {
    // The command itself must not hold what it looks for.
    const mark = backwards(secret);
    const { stdout } = await exec(id, `perl search.pl '${mark}'`);
    assert.match(stdout, /^read [2-9]/, `${secret} is in memory: ${stdout}`);
    const files = await exec(
      id,
      `s=$(echo '${mark}' | rev); for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do tr '\\0' '\\n' < $f | grep -F -e "$s" | grep -v 'grep -F'; done; grep -rsIlF --exclude-dir=proc --exclude-dir=usr -e "$s" / 2>/dev/null; echo looked`,
    );
    assert.equal(files.stdout, 'looked\n', files.stderr);
  }
  // The search finds what is there.
  const control = await exec(
    id,
    `X=a-control-mark; export X; sleep 5 & perl search.pl '${backwards('a-control-mark')}'`,
  );
  assert.match(control.stdout, /^found in \d+$/m);
  await atoll.client.call('session.end', { sessionId: id });
});

test('memory: the turn ends with oom', { timeout: 60_000 }, async () => {
  const id = await open();
  const done = await overLimit(id, 'perl -e \'push @a, "x" x 1e7 for 1..1000\'');
  assert.deepEqual([done.status, done.cause], ['failed', 'oom']);
  assert.match(done.detail ?? '', /256 MiB of memory/);
  assert.equal((await turnOf(atoll, id, 'again')).done.status, 'completed');
  await atoll.client.call('session.end', { sessionId: id });
});

test('disk: the turn ends with disk_full', { timeout: 60_000 }, async () => {
  const id = await open();
  const done = await overLimit(id, 'dd if=/dev/zero of=big bs=1M; sleep 30');
  assert.deepEqual([done.status, done.cause], ['failed', 'disk_full']);
  assert.match(done.detail ?? '', /32 MiB of disk/);
  await atoll.client.call('session.files.delete', { sessionId: id, path: 'big' });
  assert.equal((await turnOf(atoll, id, 'again')).done.status, 'completed');
  await atoll.client.call('session.end', { sessionId: id });
});

test('processes: a fork bomb stays in its sandbox, and ends with it', { timeout: 60_000 }, async () => {
  const id = await open();
  const mark = '31415.926';
  const bomb = exec(id, `b() { sleep ${mark} & b & b; }; b`).catch(() => undefined);
  await until(async () => (await processesWith(mark)).length > 0);
  for (let round = 0; round < 5; round++) {
    assert.equal((await turnOf(atoll, bystander, 'emit 100')).done.status, 'completed');
    assert.ok((await processesWith(mark)).length <= limits.processes);
  }
  await atoll.client.call('session.end', { sessionId: id });
  await bomb;
  await until(async () => (await processesWith(mark)).length === 0);
});

test('FIFOs, sockets and devices are never opened, and park no thread', { timeout: 60_000 }, async () => {
  const id = await open();
  const made = await exec(
    id,
    'for i in 1 2 3 4 5 6 7 8; do mkfifo fifo$i; done; ln -s /dev/zero zero; ln -s fifo1 link; ' +
      'perl -MIO::Socket::UNIX -e \'IO::Socket::UNIX->new(Local => "socket", Listen => 1)\'; mknod null c 1 3; ls null',
  );
  assert.match(made.stderr, /mknod.*not permitted[\s\S]*cannot access 'null'/);
  const ask = createAsk(atoll);
  const files = `/api/sessions/${id}/files`;
  const special = ['link', 'socket', ...Array.from({ length: 8 }, (_, at) => `fifo${at + 1}`)];
  const answers = await Promise.all(
    special.flatMap((path) => [
      ask('GET', `${files}/${path}`),
      ask('PUT', `${files}/${path}`, { body: 'x' }),
    ]),
  );
  for (const { body } of answers) assert.equal(body.code, 'not_a_file');
  assert.equal((await ask('GET', `${files}/zero`)).body.code, 'path_outside_workspace');
  const listed = await atoll.client.call('session.files.list', { sessionId: id });
  const types = Object.fromEntries(listed.files.map(({ path, type }) => [path, type]));
  assert.deepEqual([types.fifo1, types.socket, types.zero], ['other', 'other', 'symlink']);
  for (const path of special) assert.equal((await ask('DELETE', `${files}/${path}`)).status, 200, path);
  await atoll.client.call('session.end', { sessionId: id });
});
