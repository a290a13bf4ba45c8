/** Snapshots of sandboxes without an agent, and sandboxes made from them: jobs, over the API of a real server. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { newId } from '@atoll/protocol/ids';
import { type Atoll, deployProgram, startAtoll } from '../atoll.ts';
import { assertProblem, createAsk, json } from '../raw-http.ts';
import { startRunner } from '../runner-process.ts';

const MAIN = fileURLToPath(new URL('../../packages/cli/src/main.mjs', import.meta.url));

for (const link of ['local', 'http', 'grpc'] as const)
  describe(`${link} link`, () => {
    let atoll: Atoll;
    let runner: AsyncDisposable | undefined;
    before(async () => {
      if (link === 'local') atoll = await startAtoll();
      else {
        atoll = await startAtoll({ args: ['--no-runner', '--grpc-port', '0'] });
        runner = await startRunner(atoll, 'apart', { link });
      }
    });
    after(async () => {
      await runner?.[Symbol.asyncDispose]();
      await atoll[Symbol.asyncDispose]();
    });

    const exec = async (sandboxId: string, command: string) =>
      (await atoll.client.call('sandbox.exec', { sandboxId, command })).stdout;

    test('files, modes and links come back in another sandbox, when the first is long gone', async () => {
      const { client } = atoll;
      const { sandbox } = await client.call('sandbox.create', { wait: true });
      await exec(sandbox.id, 'mkdir a; echo one > a/b; chmod 750 a/b; ln -s b a/c; echo home > ~/d');
      const first = await client.call('sandbox.snapshot', { sandboxId: sandbox.id, wait: true });
      assert.deepEqual(
        [first.job.type, first.job.status, first.job.attempts, first.job.snapshotId],
        ['snapshot', 'completed', 1, first.snapshot?.id],
      );
      await exec(sandbox.id, 'echo two > a/b; rm ~/d');
      const second = await client.call('sandbox.snapshot', { sandboxId: sandbox.id, wait: true });
      const { snapshots } = await client.call('sandbox.snapshots.list', { sandboxId: sandbox.id });
      assert.deepEqual(snapshots, [first.snapshot, second.snapshot]);
      const stored = snapshots.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
      const { totals } = await client.call('usage.show', {});
      assert.ok(stored > 0 && totals.snapshotBytes === stored, `${totals.snapshotBytes} of ${stored}`);
      await client.call('sandbox.delete', { sandboxId: sandbox.id, wait: true });

      const look = 'cat a/b a/c ~/d 2>/dev/null; stat -c %a a/b; readlink a/c';
      for (const [kept, expected] of [
        [first, 'one\none\nhome\n750\nb\n'],
        [second, 'two\ntwo\n750\nb\n'],
      ] as const) {
        const snapshotId = kept.snapshot?.id ?? '';
        const made = await client.call('sandbox.create', { snapshotId, wait: true });
        assert.deepEqual([made.job.type, made.job.snapshotId], ['restore', snapshotId]);
        assert.equal(made.sandbox.snapshotId, snapshotId);
        assert.equal(await exec(made.sandbox.id, look), expected);
        await client.call('sandbox.delete', { sandboxId: made.sandbox.id, wait: true });
      }
      const { jobs } = await client.call('job.list', { sandboxId: sandbox.id });
      assert.deepEqual(
        jobs.map(({ type, status }) => `${type} ${status}`),
        ['delete completed', 'snapshot completed', 'snapshot completed', 'create completed'],
      );
    });

    test('what changes while it is taken is in it as it was at one moment', async () => {
      const { client } = atoll;
      const { sandbox } = await client.call('sandbox.create', { wait: true });
      await exec(
        sandbox.id,
        `(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); echo $i > t; mv t x; echo $i > t; mv t y; done) >/dev/null 2>&1 & sleep 0.2`,
      );
      const { snapshot } = await client.call('sandbox.snapshot', { sandboxId: sandbox.id, wait: true });
      const made = await client.call('sandbox.create', { snapshotId: snapshot?.id ?? '', wait: true });
      const [x = NaN, y = NaN] = (await exec(made.sandbox.id, 'cat x y')).split('\n').map(Number);
      assert.ok(x > 0 && (x === y || x === y + 1), `${x} and ${y}`);
      for (const { id: sandboxId } of [sandbox, made.sandbox])
        await client.call('sandbox.delete', { sandboxId, wait: true });
    });
  });

describe('refusals, and the command line', () => {
  let atoll: Atoll;
  before(async () => {
    atoll = await startAtoll();
  });
  after(() => atoll[Symbol.asyncDispose]());

  test('`atoll sandbox snapshot`, `snapshots list`, `create --snapshot`, `snapshots delete`', async () => {
    const { PATH = '' } = process.env;
    const env = { PATH, ATOLL_SERVER: atoll.url, ATOLL_API_KEY: atoll.key };
    const cli = async (...words: string[]) =>
      (await promisify(execFile)(process.execPath, [MAIN, 'sandbox', ...words], { env })).stdout.trim();
    const sandboxId = await cli('create');
    await cli('exec', sandboxId, '--', 'echo kept > file');
    const snapshotId = await cli('snapshot', sandboxId);
    assert.match(snapshotId, /^snap_/);
    assert.match(await cli('snapshots', 'list', sandboxId), new RegExp(`${snapshotId} +1 +5 `));
    const again = await cli('create', '--snapshot', snapshotId);
    assert.equal(await cli('files', 'read', again, 'file'), 'kept');
    assert.equal(await cli('snapshots', 'delete', sandboxId, snapshotId), `${snapshotId} is forgotten.`);
    assert.match(await cli('snapshots', 'list', sandboxId), /No snapshots/);
    for (const id of [sandboxId, again]) await cli('delete', id);
  });

  test('what cannot be: of a session, of one that has ended, from what is not there', async () => {
    const { client } = atoll;
    const ask = createAsk(atoll);
    await deployProgram(client, 'agent', 'setInterval(() => {}, 1000)');
    const { session } = await client.call('session.create', { agent: 'agent' });
    assertProblem(
      await ask('POST', `/api/sandboxes/${session.sandboxId}/snapshot`),
      409,
      'illegal_transition',
    );
    const { sandbox } = await client.call('sandbox.create', { wait: true });
    assert.equal((await ask('POST', `/api/sandboxes/${sandbox.id}/snapshot`)).status, 202);
    const { snapshot } = await client.call('sandbox.snapshot', { sandboxId: sandbox.id, wait: true });
    await client.call('sandbox.delete', { sandboxId: sandbox.id, wait: true });
    assertProblem(await ask('POST', `/api/sandboxes/${sandbox.id}/snapshot`), 409, 'illegal_transition');
    const restore = (snapshotId: string, key?: string) =>
      ask('POST', '/api/sandboxes', { ...json({ snapshotId }), ...(key === undefined ? {} : { key }) });
    assertProblem(await restore(newId('snapshot')), 404, 'not_found');
    assertProblem(await restore('../x'), 400, 'invalid_request');
    const stranger = await client.call('key.create', { role: 'client', tenant: 'other' });
    assertProblem(await restore(snapshot?.id ?? '', stranger.secret), 404, 'not_found');
    const elsewhere = await client.call('sandbox.create', { wait: true });
    const path = `/api/sandboxes/${elsewhere.sandbox.id}/snapshots/${snapshot?.id}`;
    assertProblem(await ask('DELETE', path), 404, 'not_found');
    assert.equal((await ask('DELETE', `/api/sandboxes/${sandbox.id}/snapshots/${snapshot?.id}`)).status, 200);
    assertProblem(await restore(snapshot?.id ?? ''), 404, 'not_found');
    await client.call('sandbox.delete', { sandboxId: elsewhere.sandbox.id, wait: true });
  });
});
