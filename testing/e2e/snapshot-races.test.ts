/**
 * Pausing, resuming, forking, looking, writing, ending, erasing and stopping at the same time: whatever comes first, each
 * call has a legal answer, the session ends in a legal status with a cause (I5, I10), and works on.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';
import { endsOf, readLog } from '../crash.ts';
import { random } from '../random.ts';

let atoll: Atoll;
before(async () => {
  atoll = await startAtoll({ args: ['--capacity', '8'] });
  await deployProgram(atoll.client, 'versatile', versatile);
});
after(() => atoll[Symbol.asyncDispose]());

type Attempt = { done: true } | { done: false; code: string };

const attempt = (work: Promise<unknown>): Promise<Attempt> =>
  work.then(
    () => ({ done: true }),
    (error: Error & { code?: string }) => ({ done: false, code: error.code ?? error.message }),
  );
const text = (value: string) => new TextEncoder().encode(value);
const say = async (id: string, content: string) =>
  (await Array.fromAsync(atoll.client.send(id, { content }))).map((event) => event.text).join('\n');
const call = {
  pause: (sessionId: string) => atoll.client.call('session.pause', { sessionId }),
  resume: (sessionId: string) => atoll.client.call('session.resume', { sessionId }),
  fork: (sessionId: string) => atoll.client.call('session.fork', { sessionId }),
  list: (sessionId: string) => atoll.client.call('session.files.list', { sessionId }),
  exec: (sessionId: string) => atoll.client.call('session.exec', { sessionId, command: 'date > dated' }),
  end: (sessionId: string, purge = false) => atoll.client.call('session.end', { sessionId, purge }),
  show: async (sessionId: string) => (await atoll.client.call('session.show', { sessionId })).session,
};
const workspaceOf = (id: string) => join(atoll.dataDir, 'runner', 'workspaces', id);

async function begin(): Promise<string> {
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  await say(session.id, 'remember the ferry');
  return session.id;
}

/** Paused, with its files in the blob store only, and enough of them that to restore them takes a while. */
async function beginLarge(): Promise<string> {
  const id = await begin();
  const command = 'for i in $(seq 400); do head -c 50000 /dev/urandom > f$i; done';
  await atoll.client.call('session.exec', { sessionId: id, command });
  await call.pause(id);
  await rm(workspaceOf(id), { recursive: true });
  return id;
}

test('a message, a resumption, a fork and a look during a pause', async () => {
  for (let round = 0; round < 4; round++) {
    const id = await begin();
    const [paused, told, resumed, forked, listed] = await Promise.all([
      attempt(call.pause(id)),
      say(id, 'recall'),
      attempt(call.resume(id)),
      call.fork(id),
      attempt(call.list(id)),
    ]);
    assert.deepEqual([resumed, listed], [{ done: true }, { done: true }]);
    assert.ok(paused.done || paused.code === 'illegal_transition', JSON.stringify(paused));
    assert.match(told, /the ferry/);
    assert.deepEqual([forked.session.status, forked.session.cause], ['paused', 'forked']);
    assert.match(await say(forked.session.id, 'recall'), /the ferry/);
    assert.match(await say(id, 'recall'), /the ferry/);
    for (const one of [id, forked.session.id]) await call.end(one);
  }
});

test('ended, or erased, while its files are put back: for a resumption, or for a look', async () => {
  const began = async (id: string) => {
    await until(async () => existsSync(join(workspaceOf(id), 'workspace', 'f1')), 20_000);
  };
  for (const purge of [false, true]) {
    for (const wake of [call.resume, call.list]) {
      const id = await beginLarge();
      const woken = attempt(wake(id));
      await began(id);
      const { session } = await call.end(id, purge);
      assert.deepEqual([session.status, session.cause], ['ended', 'ended']);
      const answer = await woken;
      assert.ok(
        answer.done || /^(session_ended|not_found|snapshot_failed)$/.test(answer.code),
        JSON.stringify(answer),
      );
      await until(async () => !existsSync(workspaceOf(id)));
      if (purge) await assert.rejects(call.show(id), { code: 'not_found' });
    }
  }
});

test('the server is stopped in a snapshot, and in a restoration', async () => {
  const id = await begin();
  const command = 'for i in $(seq 400); do head -c 50000 /dev/urandom > f$i; done';
  await atoll.client.call('session.exec', { sessionId: id, command });
  await say(id, 'remember the bridge');
  assert.equal(await atoll.stop(), 0);
  await rm(join(atoll.dataDir, 'runner'), { recursive: true });
  await atoll.restart();
  const { snapshots } = await atoll.client.call('session.snapshots.list', { sessionId: id });
  assert.equal(snapshots.at(-1)?.status, 'complete', 'it was waited for');
  const resumed = attempt(call.resume(id));
  await until(async () => existsSync(join(workspaceOf(id), 'workspace', 'f1')), 20_000);
  assert.equal(await atoll.stop(), 0);
  await resumed;
  await atoll.restart();
  const { status, cause } = await call.show(id);
  assert.equal(status, 'paused');
  assert.ok(cause);
  assert.match(await say(id, 'recall'), /the bridge/);
  const { files } = await atoll.client.call('session.files.list', { sessionId: id, limit: 1000 });
  assert.equal(files.filter(({ path }) => /^f\d+$/.test(path)).length, 400);
  await call.end(id);
});

test('anything at any time', { timeout: 120_000 }, async () => {
  const next = random(44);
  const legal = /^(illegal_transition|session_ended|not_found|no_capacity|cannot_steer|conflict)$/;
  const id = await begin();
  const forks: string[] = [];
  const acts: ((n: number) => Promise<unknown>)[] = [
    () => call.pause(id),
    () => call.resume(id),
    () => call.list(id),
    () => call.exec(id),
    (n) => say(id, `echo ${n}`),
    (n) => atoll.client.writeFile(id, `file-${n % 7}`, text(String(n))),
    async () => void forks.push((await call.fork(id)).session.id),
    async () => {
      const fork = forks.pop();
      if (fork !== undefined) await Promise.all([attempt(call.list(fork)), call.end(fork, next() < 0.5)]);
    },
    async () => {
      const fork = forks.at(-1);
      if (fork !== undefined) await say(fork, 'recall');
    },
    () => atoll.client.call('session.interrupt', { sessionId: id }),
  ];
  for (let round = 0; round < 12; round++) {
    const chosen = Array.from({ length: 8 }, () => Math.floor(next() * acts.length));
    const answers = await Promise.all(
      chosen.map((act, n) => attempt(acts[act]?.(round * 8 + n) ?? Promise.resolve())),
    );
    for (const [n, answer] of answers.entries())
      assert.ok(answer.done || legal.test(answer.code), `${chosen[n]}: ${JSON.stringify(answer)}`);
    const { status, cause } = await call.show(id);
    assert.ok(status === 'idle' || (status === 'paused' && cause), `${status} ${cause}`);
  }
  assert.match(await say(id, 'recall'), /the ferry/);
  endsOf(await readLog(atoll, id));
  for (const one of [id, ...forks]) await attempt(call.end(one));
});
