/**
 * Readers that are cut off and readers that take very long, side by side: each gets every event once, in order, with
 * the bytes of the log (I2, I3), the turn goes on as if they were not there, and the server holds nothing back for them
 * in memory (I9).
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, startAtoll } from '../atoll.ts';
import { readCut, readWhole, stall } from '../readers.ts';

let atoll: Atoll;
before(async () => {
  atoll = await startAtoll();
  await deployProgram(atoll.client, 'versatile', versatile);
});
after(() => atoll[Symbol.asyncDispose]());

const create = async () => (await atoll.client.call('session.create', { agent: 'versatile' })).session.id;

/** Runs the turn that emits this much, with a client that takes all of it. Returns how long it took. */
async function flood(id: string, count: number, bytes: number): Promise<number> {
  const startedAt = performance.now();
  let messages = 0;
  for await (const event of atoll.client.send(id, { content: `emit ${count} ${bytes}` }))
    if (event.event === 'message') messages++;
  assert.equal(messages, count + 1);
  return performance.now() - startedAt;
}

test('50,000 events to a reader that is cut 200 times and one that is slow all the time', async () => {
  const id = await create();
  const slow = readWhole(atoll, id, 50);
  const cut = readCut(atoll, id, 200, 450);
  let slowIsDone = false;
  void slow.then(() => {
    slowIsDone = true;
  });
  await flood(id, 50_000, 250);
  const { seen, connections } = await cut;
  assert.ok(!slowIsDone, 'the slow reader was no slower than the others');
  assert.equal(connections, 201);
  const whole = await readWhole(atoll, id);
  assert.ok(whole.length > 50_000 && whole.every((event, at) => event.seq === at + 1));
  assert.deepEqual(seen, whole);
  assert.deepEqual(await slow, whole);
});

test('a turn takes no longer for readers that take nothing', async () => {
  const alone: number[] = [];
  const beside: number[] = [];
  for (let round = 0; round < 5; round++) {
    alone.push(await flood(await create(), 30_000, 250));
    const id = await create();
    const stalled = await Promise.all(Array.from({ length: 5 }, () => stall(atoll, id)));
    beside.push(await flood(id, 30_000, 250));
    for (const reader of stalled) reader[Symbol.dispose]();
  }
  // The best of each: whatever else the machine does can only add to it.
  const [usual, slowed] = [Math.min(...alone), Math.min(...beside)];
  assert.ok(slowed < usual * 1.5, `${slowed} ms instead of ${usual} ms`);
});

test('a reader that takes nothing of 200 MB costs no memory', async () => {
  const id = await create();
  // The same amount, taken by everybody: what the server needs for it anyway.
  await flood(id, 50_000, 4_000);
  const before = residentBytes();
  using _ = await stall(atoll, id);
  await flood(id, 50_000, 4_000);
  const grown = residentBytes() - before;
  assert.ok(grown < 100_000_000, `${grown} bytes`);
});

function residentBytes(): number {
  const status = readFileSync(`/proc/${atoll.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}
