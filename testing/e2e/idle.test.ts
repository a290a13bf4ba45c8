/** A session that nobody uses is paused by itself; whoever only looks does not use it, also when that is all the time. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { versatile } from '../agents.ts';
import { deployProgram, startAtoll, until } from '../atoll.ts';

const MINUTE_MS = 60_000;

test('idle for half an hour: paused, whoever looks; not who gets a message, a command or a file', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'atoll-clock-'));
  const file = join(directory, 'ahead');
  const setMinutes = (minutes: number) => writeFileSync(file, String(minutes * MINUTE_MS));
  setMinutes(0);
  const preload = new URL('../clock.preload.ts', import.meta.url);
  preload.searchParams.set('ahead', pathToFileURL(file).href);
  await using atoll = await startAtoll({ nodeArgs: ['--import', preload.href] });
  const { client } = atoll;
  await deployProgram(client, 'versatile', versatile);
  const say = (id: string) => Array.fromAsync(client.send(id, { content: 'echo x' }));
  const begin = async () => {
    const { session } = await client.call('session.create', { agent: 'versatile' });
    await say(session.id);
    return session.id;
  };
  const statusOf = async (sessionId: string) => {
    const { session } = await client.call('session.show', { sessionId });
    return [session.status, session.cause];
  };
  const [looked, told, commanded, written] = [await begin(), await begin(), await begin(), await begin()];
  const used = [told, commanded, written];
  const look = async (sessionId: string) => {
    await client.call('session.state', { sessionId });
    await client.call('session.events', { sessionId });
    await client.call('session.files.list', { sessionId });
    await client.call('session.snapshots.list', { sessionId });
    await client.readFile(sessionId, 'agent.mjs').then((body) => new Response(body).bytes());
    await client.call('session.list', {});
    await client.call('health.show', {});
  };
  setMinutes(20);
  await look(looked);
  await say(told);
  await client.call('session.exec', { sessionId: commanded, command: 'true' });
  await client.writeFile(written, 'file', new TextEncoder().encode('x'));
  setMinutes(31);
  await until(async () => {
    await look(looked);
    return (await statusOf(looked))[0] === 'paused';
  });
  assert.deepEqual(await statusOf(looked), ['paused', 'idle']);
  assert.deepEqual(await Promise.all(used.map(statusOf)), [
    ['idle', null],
    ['idle', null],
    ['idle', null],
  ]);
  setMinutes(51);
  for (const id of used) {
    await until(async () => (await statusOf(id))[0] === 'paused');
    assert.deepEqual(await statusOf(id), ['paused', 'idle']);
  }
  rmSync(directory, { recursive: true });
});
