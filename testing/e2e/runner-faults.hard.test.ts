/**
 * Runners and their coordinator on machines of their own, with TLS between them, and what befalls such machines in the
 * middle of a turn that counts: cut off in either direction or both, frozen, killed, slow, and the coordinator killed.
 * A fault that is shorter than the lease is seen by nobody; after a longer one the session goes on elsewhere, and what
 * the old runner still has to say, nobody hears (I2, I6).
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { StreamEvent } from '@atoll/client';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, filesBelow, processesWith, until } from '../atoll.ts';
import { type Machines, startMachines } from '../machines.ts';
import { type Machine, missingNetns } from '../netns.ts';
import { createAsk } from '../raw-http.ts';
import type { RunnerProcess } from '../runner-process.ts';
import { processesOf } from '../traces.ts';

/** Of its lease of 15 s, a runner may have used five when it is cut off, and it takes a moment to be heard again. */
const SHORT_MS = 8_000;
/** The loss is known after at most 18 s; what comes after it is to have come by now. */
const LONG_MS = 26_000;
/** For a lost runner's session to go on elsewhere. */
const ELSEWHERE_MS = 30_000;
const TICK_MS = 20;
/** How long the coordinator is away: its runners hold what is said meanwhile. */
const AWAY_MS = 3_000;

/** Beside the turns of its sandbox, for as long as that lives. */
const REPORTS = `
const { ATOLL_API_URL: url, ATOLL_SESSION_ID: session_id } = process.env;
const body = JSON.stringify({ session_id, event_type: 'beat' });
const headers = { 'content-type': 'application/json' };
setInterval(() => fetch(url + '/events', { method: 'POST', headers, body }).catch(() => {}), 200);
`;

type Fault = { begin(of: Place, atoll: Atoll): void; end(of: Place): void };

const portOf = (url: string) => Number(new URL(url).port);
const heal: Fault['end'] = ({ machine }) => machine.heal();
const cut = (direction: 'in' | 'out' | 'both'): Fault => ({
  begin: ({ machine }) => machine.cut(direction),
  end: heal,
});
/** Of a runner that is called: either side cannot open a connection to the other, and hears it nevertheless. */
const deaf: Record<string, Fault> = {
  'heard and not reached': {
    begin: ({ machine, runner }) => machine.close('in', portOf(runner.url)),
    end: heal,
  },
  'reached and not heard': {
    begin: ({ machine }, atoll) => machine.close('out', portOf(atoll.url)),
    end: heal,
  },
};
const faults: Record<string, Fault> = {
  'cut off': cut('both'),
  'cut off from what comes in': cut('in'),
  'cut off from what goes out': cut('out'),
  frozen: {
    begin: ({ runner }) => void process.kill(runner.pid, 'SIGSTOP'),
    end: ({ runner }) => void process.kill(runner.pid, 'SIGCONT'),
  },
};

/** A runner on its own machine, with one session, which fills it. */
type Place = { machine: Machine; runner: RunnerProcess; sessionId: string };

for (const link of ['http', 'grpc'] as const)
  describe(`over ${link}`, { skip: missingNetns() }, () => {
    const known = link === 'http' ? { ...faults, ...deaf } : faults;
    let machines: Machines;
    let atoll: Atoll;
    const places = new Map<string, Place>();

    before(async () => {
      machines = await startMachines(link);
      atoll = machines.atoll;
      await deployProgram(atoll.client, 'versatile', versatile);
      for (const name of [...Object.keys(known), 'killed', 'slow', 'kept'])
        places.set(name, await place(name));
      await machines.runner('other', 20);
    });
    after(() => machines?.[Symbol.asyncDispose]());

    async function place(name: string): Promise<Place> {
      const { machine, runner } = await machines.runner(name.replaceAll(' ', '-'), 1);
      const { session } = await atoll.client.call('session.create', { agent: 'versatile' });
      assert.equal(session.runnerId, runner.id, 'the others are full');
      await say(session.id, `remember ${name}`);
      await atoll.client.writeFile(session.id, 'reports.mjs', Buffer.from(REPORTS));
      const command = 'node reports.mjs > /dev/null 2>&1 &';
      await atoll.client.call('session.exec', { sessionId: session.id, command });
      return { machine, runner, sessionId: session.id };
    }

    function placeOf(name: string): Place {
      const found = places.get(name);
      assert.ok(found);
      return found;
    }

    const show = async (sessionId: string) =>
      (await atoll.client.call('session.show', { sessionId })).session;
    const say = (sessionId: string, content: string) =>
      Array.fromAsync(atoll.client.send(sessionId, { content }));

    /** A turn that counts, its numbers as they come. */
    function counting(sessionId: string, count: number) {
      const numbers: number[] = [];
      const ended = (async () => {
        const events: StreamEvent[] = [];
        for await (const event of atoll.client.send(sessionId, { content: `tick ${count} ${TICK_MS}` })) {
          events.push(event);
          const said = event.event === 'message' ? JSON.parse(event.text) : {};
          if (said.type === 'item') numbers.push(said.n);
        }
        return doneOf(events);
      })();
      return {
        numbers,
        ended,
        reached: (count: number) => until(async () => numbers.length >= count, 20_000),
      };
    }

    /**
     * The log of the session: dense, each turn's numbers in order from 0, and no report after a turn that ended with its
     * sandbox's runner. Returns the last turn's numbers.
     */
    async function numbersKept(sessionId: string): Promise<number[]> {
      const { lastSeq } = await show(sessionId);
      const turns: number[][] = [];
      let [seq, reports, isLost] = [0, 0, false];
      for await (const event of atoll.client.events(sessionId)) {
        if (event.seq === undefined) continue;
        seq++;
        assert.equal(event.seq, seq, 'the log is dense');
        const data = JSON.parse(event.text);
        if (event.event === 'input') turns.push([]);
        if (event.event === 'message' && data.type === 'item') turns.at(-1)?.push(data.n);
        if (event.event === 'done') turns.push([]);
        isLost ||= event.event === 'done' && data.cause === 'runner_lost';
        if (event.event === 'report' && data.event_type === 'beat') reports++;
        assert.ok(!isLost || data.event_type !== 'beat', 'what is lost reports nothing');
        if (seq === lastSeq) break;
      }
      assert.ok(reports > 0);
      for (const turn of turns) assertInOrder(turn);
      return turns.filter(({ length }) => length > 0).at(-1) ?? [];
    }

    /** Of the session's assignment that is lost: what it was given to act with in its name. */
    async function tokenOf(sessionId: string, epoch: number): Promise<string> {
      const answer = await createAsk(atoll)('POST', `/api/internal/sessions/${sessionId}/token`, {
        body: JSON.stringify({ epoch }),
      });
      assert.equal(answer.status, 200, answer.text);
      return (answer.body as { token: string }).token;
    }

    async function assertFenced(sessionId: string, epoch: number, token: string): Promise<void> {
      const ask = createAsk(atoll);
      const again = await ask('POST', `/api/internal/sessions/${sessionId}/token`, {
        body: JSON.stringify({ epoch }),
      });
      assert.equal((again.body as { code: string }).code, 'stale_epoch');
      const body = JSON.stringify({ event_type: 'late' });
      const late = await ask('POST', `/api/sessions/${sessionId}/events`, { key: token, body });
      assert.ok([401, 409].includes(late.status), `a late report: ${late.status}`);
    }

    /** After the fault: how the turn ends, that the session goes on elsewhere, and how long each took. */
    async function goesOn(t: TestContext, { runner, sessionId }: Place, name: string, ended: Promise<Done>) {
      const began = performance.now();
      const done = await ended;
      const lostMs = performance.now() - began;
      assert.deepEqual([done.status, done.cause], ['interrupted', 'runner_lost']);
      const recalled = await say(sessionId, 'recall');
      const usableMs = performance.now() - began;
      assert.equal(recalledBy(recalled), name);
      assert.notEqual((await show(sessionId)).runnerId, runner.id);
      assert.ok(usableMs < ELSEWHERE_MS, `usable after ${usableMs} ms`);
      t.diagnostic(
        `${link}, ${name}: lost after ${seconds(lostMs)}, usable elsewhere after ${seconds(usableMs)}`,
      );
    }

    describe('side by side', { concurrency: true }, () => {
      for (const [name, { begin, end }] of Object.entries(known))
        test(`a runner is ${name}: for a moment, and for longer than its lease`, {
          timeout: 120_000,
        }, async (t) => {
          const own = placeOf(name);
          const { runner, sessionId } = own;
          const { sandboxId } = await show(sessionId);
          const short = counting(sessionId, 800);
          await short.reached(100);
          begin(own, atoll);
          await delay(SHORT_MS);
          end(own);
          const done = await short.ended;
          assert.equal(done.status, 'completed', JSON.stringify(done));
          assert.equal(short.numbers.length, 800);
          assertInOrder(short.numbers);
          assert.deepEqual(await numbersKept(sessionId), short.numbers);
          const after = await show(sessionId);
          assert.deepEqual([after.sandboxId, after.runnerId], [sandboxId, runner.id]);

          const token = await tokenOf(sessionId, 1);
          const long = counting(sessionId, 1_000_000);
          await long.reached(50);
          const ticks = await fileOf(runner, 'ticks');
          begin(own, atoll);
          const began = performance.now();
          await goesOn(t, own, name, long.ended);
          // A runner that does not run cannot freeze what it has; it cannot let anything out, either.
          if (name !== 'frozen') {
            const still = await readFile(ticks, 'utf8');
            await delay(1_000);
            assert.equal(await readFile(ticks, 'utf8'), still, 'its sandbox stands still');
          }
          await delay(Math.max(0, LONG_MS - (performance.now() - began)));
          assert.equal((await agentsOf(runner)).length, 1);
          end(own);
          await until(async () => (await agentsOf(runner)).length === 0, 20_000);
          const back = async () => (await atoll.client.call('runner.show', { runnerId: runner.id })).runner;
          await until(async () => (await back()).status === 'available');
          await assertFenced(sessionId, 1, token);
          assertInOrder(long.numbers);
          assert.deepEqual(await numbersKept(sessionId), long.numbers);
        });

      test('a runner is killed', { timeout: 60_000 }, async (t) => {
        const own = placeOf('killed');
        const long = counting(own.sessionId, 1_000_000);
        await long.reached(50);
        await own.runner.destroy();
        await goesOn(t, own, 'killed', long.ended);
        assertInOrder(long.numbers);
        assert.deepEqual(await numbersKept(own.sessionId), long.numbers);
      });

      test('a runner is slow', { timeout: 120_000 }, async (t) => {
        const { machine, runner, sessionId } = placeOf('slow');
        const how = machine.slow();
        const began = performance.now();
        const events = await say(sessionId, 'emit 4000 200');
        t.diagnostic(`${link}, ${how}: 4000 events of 200 bytes in ${seconds(performance.now() - began)}`);
        assert.equal(doneOf(events).status, 'completed');
        const items = events.flatMap(({ event, text }) => (event === 'message' ? [JSON.parse(text)] : []));
        const numbers = items.flatMap(({ type, n }) => (type === 'item' ? [n] : []));
        assert.equal(numbers.length, 4000);
        assertInOrder(numbers);
        assert.equal((await show(sessionId)).runnerId, runner.id);
        machine.heal();
      });
    });

    test('the coordinator is killed under a running turn, and back', { timeout: 60_000 }, async (t) => {
      const { sessionId, runner } = placeOf('kept');
      const { sandboxId } = await show(sessionId);
      const turn = counting(sessionId, 500);
      await turn.reached(50);
      await atoll.kill();
      const began = performance.now();
      await delay(AWAY_MS);
      await atoll.restart();
      await turn.reached(turn.numbers.length + 1);
      t.diagnostic(
        `${link}, coordinator killed: its turn is read on after ${seconds(performance.now() - began)}`,
      );
      assert.deepEqual(await turn.ended, { status: 'completed' });
      assert.equal(turn.numbers.length, 500);
      assertInOrder(turn.numbers);
      assert.deepEqual(await numbersKept(sessionId), turn.numbers);
      const after = await show(sessionId);
      assert.deepEqual([after.sandboxId, after.runnerId], [sandboxId, runner.id]);
      assert.equal(recalledBy(await say(sessionId, 'recall')), 'kept');
    });
  });

type Done = { status: string; cause?: string };

function doneOf(events: readonly StreamEvent[]): Done {
  const { status, cause } = JSON.parse(events.at(-1)?.text ?? '{}');
  return { status, ...(cause && { cause }) };
}

function recalledBy(events: readonly StreamEvent[]): string | undefined {
  return JSON.parse(events.find(({ event }) => event === 'message')?.text ?? '{}').text;
}

/** Each once, from 0, none left out. */
function assertInOrder(numbers: readonly number[]): void {
  assert.deepEqual(numbers, [...numbers.keys()]);
}

async function fileOf({ directory }: RunnerProcess, name: string): Promise<string> {
  const found = (await filesBelow(directory)).find((path) => path.endsWith(`/${name}`));
  assert.ok(found);
  return join(directory, found);
}

/** Their processes, in whatever sandbox of that runner. */
async function agentsOf({ directory }: RunnerProcess): Promise<number[]> {
  const own = new Set(processesOf(join(directory, 'runner')));
  return (await processesWith('agent.mjs')).filter((pid) => own.has(pid));
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
