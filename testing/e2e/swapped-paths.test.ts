/**
 * Check and use: while an agent swaps a folder of its workspace for a link out of it, again and again, clients read,
 * write, list and remove below that name. No byte of outside comes in, nothing is written or removed there.
 */
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { versatile } from '../agents.ts';
import { deployProgram, startAtoll } from '../atoll.ts';
import { createAsk } from '../raw-http.ts';

const ROUNDS = 150;
/** When a side of the race was not met yet. */
const MAX_ROUNDS = 900;
const AT_ONCE = 6;

/** Runs in the sandbox: `dir` and `dir/secret` are now its own, now links to what is outside. */
const swapper = (outside: string) => `
import fs from 'node:fs';
const outside = ${JSON.stringify(outside)};
const attempt = (step) => { try { step(); } catch {} };
let swaps = 0;
setInterval(() => console.log(swaps), 200);
for (;;) {
  for (let i = 0; i < 500; i++, swaps += 2) {
    attempt(() => fs.rmSync('real', { recursive: true }));
    attempt(() => fs.renameSync('dir', 'real'));
    attempt(() => fs.mkdirSync('real'));
    attempt(() => fs.symlinkSync(outside, 'dir'));
    for (let wait = 0; wait < 400; wait++) attempt(() => fs.lstatSync('dir'));
    attempt(() => fs.unlinkSync('dir'));
    attempt(() => fs.renameSync('real', 'dir'));
    for (let wait = 0; wait < 400; wait++) attempt(() => fs.lstatSync('dir'));
    attempt(() => fs.unlinkSync('dir/secret'));
    attempt(() => fs.symlinkSync(outside + '/secret', 'dir/secret'));
    attempt(() => fs.unlinkSync('dir/secret'));
    attempt(() => fs.writeFileSync('dir/secret', 'inside'));
  }
  await new Promise(setImmediate);
}`;

test('nothing outside is read, written, listed or removed', { timeout: 120_000 }, async () => {
  const outside = await mkdtemp(join(tmpdir(), 'atoll-outside-'));
  await mkdir(join(outside, 'only-outside'));
  await writeFile(join(outside, 'secret'), 'the secret of the host');
  await chmod(join(outside, 'secret'), 0o400);
  try {
    await using atoll = await startAtoll();
    await deployProgram(atoll.client, 'versatile', versatile);
    const { id } = (await atoll.client.call('session.create', { agent: 'versatile' })).session;
    await atoll.client.writeFile(id, 'swap.mjs', new TextEncoder().encode(swapper(outside)));
    const stop = new AbortController();
    const swaps = countSwaps(
      atoll.client.exec(id, { command: 'exec node swap.mjs' }, { signal: stop.signal }),
    );
    await swaps.begun;

    const ask = createAsk(atoll);
    const path = `/api/sessions/${id}/files`;
    const uses = {
      read: () => ask('GET', `${path}/dir/secret`),
      write: () => ask('PUT', `${path}/dir/written`, { body: 'x' }),
      list: () => ask('GET', `${path}?prefix=dir`),
      remove: () => ask('DELETE', `${path}/dir/secret`),
      'remove all': () => ask('DELETE', `${path}/dir`),
    };
    const seen = new Map<string, number>();
    async function use(round: number): Promise<void> {
      for (const [name, asked] of Object.entries(uses)) {
        if (name === 'remove all' && round % 10 !== 0) continue;
        const { status, body, text } = await asked();
        assert.ok(!text.includes('of the host') && !text.includes('only-outside'), `${name}: ${text}`);
        // A folder that is filled while it is removed cannot be.
        assert.ok(status < 500 || body.detail?.includes('it keeps changing'), `${name}: ${text}`);
        const what = `${name} ${status === 200 ? 'done' : body.code}`;
        seen.set(what, (seen.get(what) ?? 0) + 1);
      }
    }
    // The race was one: both sides of it were met, in every use.
    const sides = ['read', 'write', 'list', 'remove'].flatMap((name) => [
      `${name} done`,
      `${name} path_outside_workspace`,
    ]);
    const unmet = () => sides.filter((side) => !seen.has(side));
    for (let round = 0; round < ROUNDS || (round < MAX_ROUNDS && unmet().length > 0); round += AT_ONCE)
      await Promise.all(Array.from({ length: AT_ONCE }, (_, at) => use(round + at)));

    stop.abort();
    assert.ok(swaps.count() > 500, `only ${swaps.count()} swaps`);
    assert.deepEqual(unmet(), [], JSON.stringify([...seen]));
    assert.deepEqual((await readdir(outside)).sort(), ['only-outside', 'secret']);
    assert.equal(await readFile(join(outside, 'secret'), 'utf8'), 'the secret of the host');
    assert.equal((await stat(join(outside, 'secret'))).mode & 0o777, 0o400);
  } finally {
    await rm(outside, { recursive: true });
  }
});

function countSwaps(output: AsyncIterable<{ kind: string; text?: string }>) {
  let count = 0;
  const begun = Promise.withResolvers<void>();
  const read = async () => {
    for await (const { kind, text = '' } of output) {
      if (kind === 'stdout') count = Number(text.trim().split('\n').at(-1));
      if (kind === 'stderr') begun.reject(new Error(text));
      if (count > 0) begun.resolve();
    }
  };
  // Its end is the client's: the command is cut off when the test is done with it.
  read().catch(() => undefined);
  return { begun: begun.promise, count: () => count };
}
