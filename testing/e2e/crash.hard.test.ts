/**
 * kill -9 of the server, 20 times, at random moments of a turn, of a create, of the commit of an input and of a done;
 * with the real Claude Agent SDK in bubblewrap and with a program that floods. After each: what a client saw is in the
 * log at its seq with its bytes (I1, I2, I3), every turn has one end with a cause (I10), nothing of the dead server is
 * left on the machine, and the next message works on the same workspace and conversation.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { versatile } from '../agents.ts';
import { type Atoll, deploy, deployProgram, startAtoll, until } from '../atoll.ts';
import {
  assertKept,
  endsOf,
  killAndRestart,
  readLog,
  type Witness,
  watchEvents,
  watchTurn,
} from '../crash.ts';
import { random } from '../random.ts';
import { type MessagesApi, startMessagesApi } from '../stand-ins/messages-api.ts';

const KEY = 'sk-ant-test-0123456789';
/** The Claude CLI saves what was said within this; a kill before it takes the message, though not from the log. */
const SAVED_MS = 1_000;
const next = random(20);
const upTo = (limitMs: number) => Math.floor(next() * limitMs);

let api: MessagesApi;
let atoll: Atoll;
before(async () => {
  api = await startMessagesApi({ apiKey: KEY });
  const env = { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url };
  atoll = await startAtoll({ args: ['--driver', 'bubblewrap', '--capacity', '2'], env });
  await deploy(atoll.client, 'claude', { 'CLAUDE.md': 'You are a test agent.' });
  await deployProgram(atoll.client, 'flood', versatile);
});
after(async () => {
  await atoll[Symbol.asyncDispose]();
  await api.close();
});

const create = async (agent: string) => (await atoll.client.call('session.create', { agent })).session.id;
const fact = (id: string) => `the harbour of ${id}`;

/** A session that has had a turn. */
async function begun(agent: string): Promise<string> {
  const id = await create(agent);
  await say(id, `remember ${fact(id)}`);
  return id;
}

/** One whole turn; everything its messages said. */
async function say(id: string, content: string): Promise<string> {
  const events = await Array.fromAsync(atoll.client.send(id, { content }));
  const done = JSON.parse(events.at(-1)?.text ?? '{}');
  assert.equal(done.status, 'completed', JSON.stringify(done));
  return events.map((event) => event.text).join('\n');
}

/** The kill and all that must hold of this session after it. Returns how its last turn before the kill ended. */
async function crash(id: string, witnesses: readonly Witness[]) {
  await killAndRestart(atoll, witnesses);
  const { session } = await atoll.client.call('session.show', { sessionId: id });
  assert.deepEqual([session.status, session.cause], ['paused', 'server_lost']);
  const log = await readLog(atoll, id);
  assertKept(log, witnesses);
  return { log, last: endsOf(log).at(-1) };
}

const lastRequest = () => JSON.stringify(api.requests.at(-1)?.body);
const streamed = (witness: Witness, count: number) => until(async () => witness.seen.length > count);

for (let round = 1; round <= 4; round++)
  test(`claude, in its first turn (${round})`, async () => {
    const id = await create('claude');
    const question = `count slowly to 20${round}`;
    const witnesses = [watchEvents(atoll, id), watchTurn(atoll, id, question)] as const;
    await streamed(witnesses[1], 4);
    await delay(SAVED_MS + upTo(1_000));
    const { last } = await crash(id, witnesses);
    assert.deepEqual([last?.status, last?.cause], ['interrupted', 'server_lost']);
    await say(id, 'and now?');
    assert.ok(lastRequest().includes(question), 'the first message is remembered');
  });

for (let round = 1; round <= 4; round++)
  test(`claude, in a later turn (${round})`, async () => {
    const id = await begun('claude');
    const witnesses = [watchEvents(atoll, id), watchTurn(atoll, id, 'count slowly to 200')] as const;
    await delay(upTo(2_500));
    await crash(id, witnesses);
    assert.ok((await say(id, 'what do you remember?')).includes(fact(id)));
  });

for (let round = 1; round <= 2; round++)
  test(`claude, at the end of a turn (${round})`, async () => {
    const id = await begun('claude');
    const witnesses = [watchEvents(atoll, id), watchTurn(atoll, id, `remember round ${round}`)] as const;
    await until(async () => witnesses[1].seen.some(({ data }) => JSON.parse(data).type === 'result'));
    await delay(upTo(4));
    await crash(id, witnesses);
    const said = await say(id, 'what do you remember?');
    assert.ok(said.includes(fact(id)) && said.includes(`round ${round}`), said);
  });

for (let round = 1; round <= 3; round++)
  test(`a flooding program, in a turn (${round})`, async () => {
    const id = await begun('flood');
    const witnesses = [watchEvents(atoll, id), watchTurn(atoll, id, 'emit 1000000 250')] as const;
    await streamed(witnesses[1], 1_000 + upTo(20_000));
    const { last } = await crash(id, witnesses);
    assert.deepEqual([last?.status, last?.cause], ['interrupted', 'server_lost']);
    assert.ok((await say(id, 'recall')).includes(fact(id)));
  });

for (let round = 1; round <= 2; round++)
  test(`a program, at the commit of an input (${round})`, async () => {
    const id = await begun('flood');
    const before = endsOf(await readLog(atoll, id)).length;
    const witnesses = Array.from({ length: 20 }, (_, at) => watchTurn(atoll, id, `echo ${at}`));
    await delay(upTo(30));
    const { log } = await crash(id, witnesses);
    const ends = endsOf(log).slice(before);
    for (const { seen } of witnesses) {
      const [input] = seen.map(({ data }) => JSON.parse(data).turnId);
      assert.ok(
        input === undefined || ends.some(({ turnId }) => turnId === input),
        'what was accepted ended',
      );
    }
    assert.ok((await say(id, 'recall')).includes(fact(id)));
  });

for (let round = 1; round <= 2; round++)
  test(`a program, at the end of a turn (${round})`, async () => {
    const id = await begun('flood');
    const witnesses = [watchEvents(atoll, id), watchTurn(atoll, id, 'emit 3000 250')] as const;
    await streamed(witnesses[1], 2_900);
    await delay(upTo(10));
    const { last } = await crash(id, witnesses);
    const done = witnesses[1].seen.find(({ event }) => event === 'done');
    assert.ok(done === undefined || last?.status === 'completed', 'a done that was seen stands');
    assert.ok((await say(id, 'recall')).includes(fact(id)));
  });

for (const agent of ['claude', 'flood', 'flood'])
  test(`${agent}, while sessions are created`, async () => {
    const creating = [create(agent), create(agent)].map((made) => made.catch(() => undefined));
    await delay(upTo(200));
    await killAndRestart(atoll);
    const answered = await Promise.all(creating);
    const { sessions } = await atoll.client.call('session.list', { limit: 2 });
    for (const { id, status, cause } of sessions) {
      assert.ok(['paused', 'failed'].includes(status) && cause, `${id} is ${status}: ${cause}`);
      assertKept(await readLog(atoll, id), []);
      if (status === 'paused') await say(id, 'hello');
      else assert.ok(!answered.includes(id), 'a session that was handed out lives');
    }
    await say(await create(agent), 'hello');
  });
