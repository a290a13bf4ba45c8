/** Sessions outlive what their runner holds of them: files, home and conversation come back from the blob store. */
import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, filesBelow, startAtoll, until } from '../atoll.ts';

const say = (atoll: Atoll, id: string, content: string) =>
  Array.fromAsync(atoll.client.send(id, { content }));
const exec = (atoll: Atoll, sessionId: string, command: string) =>
  atoll.client.call('session.exec', { sessionId, command });
const show = async (atoll: Atoll, id: string) =>
  (await atoll.client.call('session.show', { sessionId: id })).session;
const pause = async (atoll: Atoll, id: string) =>
  (await atoll.client.call('session.pause', { sessionId: id })).session;
const resume = async (atoll: Atoll, id: string) =>
  (await atoll.client.call('session.resume', { sessionId: id })).session;
const loseRunner = (atoll: Atoll) => rm(join(atoll.dataDir, 'runner'), { recursive: true, force: true });

type Report = { event_type: string; first?: unknown };

async function begin(atoll: Atoll): Promise<string> {
  await deployProgram(atoll.client, 'versatile', versatile);
  const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
  await say(atoll, session.id, 'remember the ferry');
  return session.id;
}

for (const driver of ['bubblewrap', 'process']) {
  test(`${driver}: paused, every file of its runner deleted, and a message: it goes on`, async () => {
    await using atoll = await startAtoll({ args: ['--driver', driver] });
    const id = await begin(atoll);
    const made = await exec(
      atoll,
      id,
      'mkdir -p d/.git d/empty && echo moored > d/ship && ln -s ship d/link && chmod 4750 d/ship && ln d/ship d/same && mkfifo d/pipe',
    );
    assert.equal(made.exitCode, 0, JSON.stringify(made));
    assert.equal((await pause(atoll, id)).status, 'paused');
    const { events: log } = await atoll.client.call('session.events', { sessionId: id });
    const reports = log.filter(({ event }) => event === 'report').map(({ data }) => data as Report);
    const told = reports.find((report) => report.event_type === 'snapshot_skipped');
    assert.deepEqual(told?.first, [{ path: 'workspace/d/pipe', reason: 'a FIFO' }]);
    const workspaces = join(atoll.dataDir, 'runner', 'workspaces');
    await rm(workspaces, { recursive: true });
    const events = await say(atoll, id, 'recall');
    assert.ok(
      events.some((event) => event.text.includes('the ferry')),
      'the home is there',
    );
    const seen = await exec(atoll, id, 'cat d/link && stat -c "%a %h" d/ship && ls -A d && test ! -e d/pipe');
    assert.equal(seen.stdout, 'moored\n750 2\n.git\nempty\nlink\nsame\nship\n', JSON.stringify(seen));
  });
}

test('a stopped server whose runner lost everything resumes sessions from the blob store', async () => {
  await using atoll = await startAtoll({ args: ['--driver', 'bubblewrap'] });
  const id = await begin(atoll);
  await atoll.stop();
  await loseRunner(atoll);
  await atoll.restart();
  assert.equal((await show(atoll, id)).status, 'paused');
  assert.equal((await resume(atoll, id)).status, 'idle');
  const events = await say(atoll, id, 'recall');
  assert.ok(events.some((event) => event.text.includes('the ferry')));
});

test('the runner’s own files count while they are there: what came after the snapshot stays', async () => {
  await using atoll = await startAtoll();
  const id = await begin(atoll);
  await pause(atoll, id);
  await atoll.client.writeFile(id, 'later', new TextEncoder().encode('kept'));
  await resume(atoll, id);
  assert.equal((await exec(atoll, id, 'cat later')).stdout, 'kept');
});

test('pausing and resuming, twice and at once', async () => {
  await using atoll = await startAtoll();
  const id = await begin(atoll);
  const paused = await Promise.all([pause(atoll, id), pause(atoll, id)]);
  assert.deepEqual(
    paused.map(({ status, cause }) => [status, cause]),
    [
      ['paused', 'paused'],
      ['paused', 'paused'],
    ],
  );
  const resumed = await Promise.all([resume(atoll, id), resume(atoll, id)]);
  assert.deepEqual(new Set(resumed.map(({ status }) => status)), new Set(['idle']));
  assert.equal(new Set(resumed.map(({ sandboxId }) => sandboxId)).size, 1);
  const [, awake] = await Promise.all([pause(atoll, id), resume(atoll, id)]);
  assert.equal(awake.status, 'idle');
  const turn = say(atoll, id, 'wait');
  await until(async () => (await show(atoll, id)).turn !== null);
  await assert.rejects(pause(atoll, id), { code: 'illegal_transition' });
  await atoll.client.call('session.interrupt', { sessionId: id });
  await turn;
});

test('a session ended, or erased, in the middle of its snapshot', async () => {
  await using atoll = await startAtoll();
  for (const purge of [false, true]) {
    const id = await begin(atoll);
    await exec(atoll, id, 'head -c 40000000 /dev/urandom > big');
    await say(atoll, id, 'echo');
    const { session } = await atoll.client.call('session.end', { sessionId: id, purge });
    assert.deepEqual([session.status, session.cause], ['ended', 'ended']);
  }
});

test('a snapshot that cannot be stored is told, and the session goes on', async () => {
  await using atoll = await startAtoll();
  const id = await begin(atoll);
  const store = join(atoll.dataDir, 'snapshots', 'tmp');
  await until(() =>
    rm(store, { recursive: true }).then(
      () => true,
      () => false,
    ),
  );
  await writeFile(store, 'a file where the folder should be');
  await say(atoll, id, 'remember the harbour');
  const told = await until(async () => {
    const { events } = await atoll.client.call('session.events', { sessionId: id });
    return events.find(({ event }) => event === 'error');
  });
  assert.equal((told.data as { code: string }).code, 'snapshot_failed');
  await rm(store);
  await mkdir(store);
  await say(atoll, id, 'remember the lighthouse');
  await pause(atoll, id);
  await rm(join(atoll.dataDir, 'runner', 'workspaces'), { recursive: true });
  const events = await say(atoll, id, 'recall');
  assert.ok(events.some((event) => event.text.includes('the lighthouse')));
});

test('kill -9 of the server in the middle of a snapshot: the one before it is whole', async () => {
  await using atoll = await startAtoll();
  const id = await begin(atoll);
  const store = join(atoll.dataDir, 'snapshots', 't-default');
  const held = () =>
    filesBelow(store).then(
      (files) => files.length,
      () => 0,
    );
  const before = await until(held);
  await exec(atoll, id, 'head -c 60000000 /dev/urandom > big');
  await say(atoll, id, 'remember nothing of this');
  await until(async () => (await held()) > before + 2);
  await atoll.kill();
  await loseRunner(atoll);
  await atoll.restart();
  const events = await say(atoll, id, 'recall');
  assert.ok(
    events.some((event) => event.text.includes('the ferry')),
    'as it was after the first turn',
  );
  assert.equal((await exec(atoll, id, 'ls big')).exitCode, 2);
});

test('a blob that rotted, or is gone, is named', async () => {
  await using atoll = await startAtoll();
  const id = await begin(atoll);
  await pause(atoll, id);
  await rm(join(atoll.dataDir, 'runner', 'workspaces'), { recursive: true });
  const store = join(atoll.dataDir, 'snapshots', 't-default');
  const [file] = await filesBelow(store);
  assert.ok(file);
  for (const spoil of [() => writeFile(join(store, file), 'rotten'), () => rm(join(store, file))]) {
    await spoil();
    const why = await resume(atoll, id).then(
      () => undefined,
      (error: Error) => error.message,
    );
    assert.match(why ?? '', new RegExp(file.split('/').at(-1) ?? '-'));
    assert.equal((await show(atoll, id)).status, 'paused');
  }
});

test('when the latest snapshot cannot be read, a fork goes on from the one before it', async () => {
  await using atoll = await startAtoll();
  const id = await begin(atoll);
  const { lastSeq } = await show(atoll, id);
  await atoll.client.call('session.state', { sessionId: id, at: lastSeq });
  const store = join(atoll.dataDir, 'snapshots', 't-default');
  const early = new Set(await filesBelow(store));
  await say(atoll, id, 'remember the harbour');
  await pause(atoll, id);
  for (const file of await filesBelow(store))
    if (!early.has(file)) await writeFile(join(store, file), 'rotten');
  await rm(join(atoll.dataDir, 'runner', 'workspaces'), { recursive: true });
  await assert.rejects(resume(atoll, id), /rotted/);
  await assert.rejects(atoll.client.call('session.files.list', { sessionId: id }), {
    code: 'storage_failed',
  });
  const { status, cause } = await show(atoll, id);
  assert.deepEqual([status, cause], ['paused', 'storage_failed']);
  const { session } = await atoll.client.call('session.fork', { sessionId: id, at: lastSeq });
  const events = await say(atoll, session.id, 'recall');
  assert.ok(events.some((event) => event.text.includes('the ferry')));
});
