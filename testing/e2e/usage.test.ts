/** What was used, of real sessions in real sandboxes: over forks, crashes and erasure. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Atoll, deployProgram, startAtoll, until } from '../atoll.ts';

const MAIN = fileURLToPath(new URL('../../packages/cli/src/main.mjs', import.meta.url));

/** Each turn tells what it used; `wait` goes on until it is killed. */
const spending = `
import { createInterface } from 'node:readline';
const send = (message) => process.stdout.write(JSON.stringify(message) + '\\n');
for await (const line of createInterface({ input: process.stdin })) {
  if (JSON.parse(line).content === 'wait') { send({ type: 'waiting' }); continue; }
  const usage = { input_tokens: 100, output_tokens: 20, cache_read_input_tokens: 3, cache_creation_input_tokens: 4 };
  send({ type: 'result', num_turns: 2, duration_ms: 5, total_cost_usd: 0.25, usage });
}
`;

const totals = async ({ client }: Atoll, params: { session?: string } = {}) =>
  (await client.call('usage.show', params)).totals;

async function turn({ client }: Atoll, sessionId: string, content = 'go'): Promise<void> {
  const events = await Array.fromAsync(client.send(sessionId, { content }));
  assert.equal(JSON.parse(events.at(-1)?.text ?? '').status, 'completed');
}

test('turns, forks, a crash and a purge: nothing is counted twice, and nothing is lost', async () => {
  await using atoll = await startAtoll();
  await deployProgram(atoll.client, 'spender', spending);
  const { session } = await atoll.client.call('session.create', { agent: 'spender' });
  await turn(atoll, session.id);
  await turn(atoll, session.id);
  const { session: fork } = await atoll.client.call('session.fork', { sessionId: session.id });
  await turn(atoll, fork.id);

  const { usage } = await atoll.client.call('usage.show', { by: 'session' });
  assert.deepEqual(
    usage.map(({ sessionId, agent, turns, inputTokens, costUsd, modelRequests }) => [
      ...[sessionId, agent, turns, inputTokens, costUsd, modelRequests],
    ]),
    [
      [fork.id, 'spender', 1, 100, 0.25, 2],
      [session.id, 'spender', 2, 200, 0.5, 4],
    ]
      .sort()
      .toReversed(),
  );
  const before = await totals(atoll);
  assert.ok(before.sandboxSeconds > 0 && before.logBytes > 0);
  await until(async () => (await totals(atoll)).snapshotBytes > 0);

  // A turn that a crash ends counts as one that told nothing.
  const running = atoll.client.send(session.id, { content: 'wait' })[Symbol.asyncIterator]();
  while ((await running.next()).value?.event !== 'message');
  await atoll.kill();
  await atoll.restart();
  const after = await totals(atoll);
  assert.deepEqual([after.turns, after.inputTokens, after.costUsd], [4, 300, 0.75]);
  assert.ok(
    after.sandboxSeconds >= before.sandboxSeconds,
    'its sandbox counts until the last that was written',
  );
  const { sandboxSeconds, ...counted } = await totals(atoll);

  for (const sessionId of [session.id, fork.id])
    await atoll.client.call('session.end', { sessionId, purge: true });
  const erased = await atoll.client.call('usage.show', { by: 'session' });
  assert.deepEqual(
    erased.usage.map(({ sessionId, agent }) => [sessionId, agent]),
    [[null, 'spender']],
  );
  const { logBytes, sandboxSeconds: still, ...same } = erased.totals;
  assert.ok(logBytes >= counted.logBytes && still >= sandboxSeconds);
  assert.deepEqual(same, (({ logBytes: _, ...rest }) => rest)(counted));
  await atoll.kill();
  await atoll.restart();
  assert.deepEqual(await totals(atoll), erased.totals);
});

test('atoll usage shows it', async () => {
  await using atoll = await startAtoll();
  await deployProgram(atoll.client, 'spender', spending);
  const { session } = await atoll.client.call('session.create', { agent: 'spender' });
  await turn(atoll, session.id);
  const run = (...args: string[]) => {
    const server = ['--server', atoll.url, '--key', atoll.key];
    return spawnSync(process.execPath, [MAIN, 'usage', ...args, ...server], { encoding: 'utf8' });
  };
  const { stdout } = run('--by', 'agent');
  assert.match(stdout, /^AGENT +TURNS +INPUT .*\nspender +1 +100 +20 +3 +4 +\$0\.2500 .*\nall +1 +100 /);
  const shown = JSON.parse(run('--by', 'session', '--session', session.id, '--json').stdout);
  assert.deepEqual([shown.usage.length, shown.usage[0].sessionId, shown.totals.turns], [1, session.id, 1]);
  assert.match(run('--to', '2000-01-01').stdout, /^Nothing was used\.\n$/);
  assert.equal(run('--by', 'hour').status, 2);
  assert.equal(run('--from', 'never').status, 1);
});
