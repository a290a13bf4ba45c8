/**
 * A sandbox that writes what it should not, as a program to its bridge and as the bridge itself to the runner: the turn
 * ends with a cause and a sentence (I10), every reader gets whole frames, and others do not notice (I11).
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { versatile } from '../agents.ts';
import { type Atoll, deploy, deployProgram, startAtoll } from '../atoll.ts';
import { type Done, logOf, peakBytes, turnOf } from '../attack.ts';
import { hostileBridge, hostileProgram } from '../hostile-agents.ts';

let atoll: Atoll;
let bystander: string;
before(async () => {
  atoll = await startAtoll();
  await deployProgram(atoll.client, 'versatile', versatile);
  await deploy(atoll.client, 'program', hostileProgram);
  await deploy(atoll.client, 'bridge', hostileBridge);
  bystander = await open('versatile');
});
after(() => atoll[Symbol.asyncDispose]());

async function open(agent: string): Promise<string> {
  return (await atoll.client.call('session.create', { agent })).session.id;
}

/** The cause that a turn ends with; undefined where it completes. */
type Ends = Readonly<Record<string, string | undefined>>;

const byProgram: Ends = {
  'not JSON': 'executor_protocol',
  'half JSON': 'executor_protocol',
  'a raw CR': 'executor_protocol',
  'a frame of SSE': 'executor_protocol',
  'a raw NUL': 'executor_protocol',
  'bad UTF-8': 'executor_protocol',
  'a line of 40 MB': 'executor_protocol',
  'a line without end': 'executor_protocol',
  'split characters': undefined,
  'a forged end': undefined,
  'a forged event': undefined,
  'deep nesting': undefined,
  'a million values': undefined,
  'many lines': undefined,
  'an exit in a line': 'executor_crashed',
  'an exit in a turn': 'executor_crashed',
};

const byBridge: Ends = {
  'not JSON': 'protocol_violation',
  'half JSON': 'protocol_violation',
  'a raw CR': 'protocol_violation',
  'a frame of SSE': 'protocol_violation',
  'a raw NUL': 'protocol_violation',
  'bad UTF-8': 'protocol_violation',
  'a line of 40 MB': 'protocol_violation',
  'a line without end': 'protocol_violation',
  'split characters': undefined,
  'a forged end': undefined,
  'a forged event': undefined,
  'deep nesting': undefined,
  'a million values': undefined,
  'many lines': undefined,
  'an exit in a line': 'exited',
  'an exit in a turn': 'exited',
  'a request': 'protocol_violation',
  'no JSON-RPC': 'protocol_violation',
  'an impossible reply': 'executor_failed',
  'an odd end': 'executor_failed',
  'answers to nothing': undefined,
  'a closed connection': 'exited',
};

function assertEnd({ status, cause, detail = '' }: Done, expected: string | undefined): void {
  assert.deepEqual([status, cause], [expected === undefined ? 'completed' : 'failed', expected], detail);
  if (expected === undefined) return;
  assert.match(detail, /^\S.{10,}/s, 'a sentence says why');
  assert.doesNotMatch(detail, /undefined|null|\[object/);
}

for (const [agent, ends] of [
  ['program', byProgram],
  ['bridge', byBridge],
] as const)
  describe(`a hostile ${agent}`, { concurrency: false }, () => {
    let sessionId: string;
    before(async () => {
      sessionId = await open(agent);
      assertEnd((await turnOf(atoll, sessionId, 'behave')).done, undefined);
    });

    for (const [attack, cause] of Object.entries(ends))
      test(`${attack}: ${cause ?? 'completes'}`, { timeout: 60_000 }, async () => {
        const [{ done, seen }, other] = await Promise.all([
          turnOf(atoll, sessionId, attack),
          turnOf(atoll, bystander, 'emit 100'),
        ]);
        assertEnd(done, cause);
        assert.equal(other.done.status, 'completed', 'another session works meanwhile');
        if (attack === 'many lines')
          assert.ok(seen.filter(({ event }) => event === 'message').length >= 1_000_000);
        if (attack === 'split characters')
          assert.ok(
            seen.some(({ data }) => data === '{"a":"é日🏝"}'),
            'the characters are whole',
          );
        const own = seen.filter(({ event }) => event !== 'message' && event !== 'report');
        if (attack.startsWith('a forged'))
          assert.deepEqual(
            own.map(({ event }) => event),
            ['ready', 'input', 'status', 'done'],
            'a message is a message, whatever it says',
          );
        // The page of JSON is whole, too.
        await atoll.client.call('session.events', { sessionId, after: (seen.at(-1)?.seq ?? 0) - 4 });
        const after = await turnOf(atoll, sessionId, 'behave');
        assertEnd(after.done, undefined);
        assert.deepEqual(
          after.seen.filter(({ event }) => event === 'message').map(({ data }) => JSON.parse(data))[0],
          { behaved: true },
        );
      });

    test('silence: the turn ends when it is interrupted', { timeout: 60_000 }, async () => {
      const turn = turnOf(atoll, sessionId, 'silence');
      const { lastSeq } = (await atoll.client.call('session.show', { sessionId })).session;
      for await (const { event } of atoll.client.events(sessionId, { after: lastSeq }))
        if (event === 'message') break;
      await turnOf(atoll, bystander, 'emit 10');
      await atoll.client.call('session.interrupt', { sessionId });
      const { done } = await turn;
      // The bridge ends a program that goes on; a bridge that does so loses its sandbox.
      assert.equal(done.cause, agent === 'program' ? 'interrupted' : 'interrupt_ignored');
      assert.match(done.detail ?? '', /^\S.{10,}/);
      assertEnd((await turnOf(atoll, sessionId, 'behave')).done, undefined);
    });

    test('the whole log is whole frames, and the server kept its memory', async () => {
      await atoll.client.call('session.end', { sessionId });
      const seqs = (await logOf(atoll, sessionId)).flatMap(({ seq }) => seq ?? []);
      for (const [at, seq] of seqs.entries()) assert.equal(seq, at + 1);
      const peak = await peakBytes(atoll);
      assert.ok(peak < 768 * 1024 ** 2, `${Math.round(peak / 1024 ** 2)} MiB`);
    });
  });
