/** The real Claude Agent SDK over two runners: what it was told and what it wrote outlive the machine where it did. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Atoll, deploy, startAtoll, until } from '../atoll.ts';
import { type RunnerProcess, startRunner } from '../runner-process.ts';
import { type MessagesApi, startMessagesApi } from '../stand-ins/messages-api.ts';

const KEY = 'sk-ant-test-0123456789';
let api: MessagesApi;
let atoll: Atoll;
before(async () => {
  api = await startMessagesApi({ apiKey: KEY });
  atoll = await startAtoll({ args: ['--no-runner', '--grpc-port', '0'] });
  const settings = { permissions: { allow: ['Write', 'Read'] } };
  await deploy(atoll.client, 'hello', {
    'CLAUDE.md': 'You are a test agent.',
    '.claude/settings.json': JSON.stringify(settings),
  });
});
after(async () => {
  await atoll[Symbol.asyncDispose]();
  await api.close();
});

/** One whole turn. */
async function say(sessionId: string, content: string): Promise<void> {
  const events = await Array.fromAsync(atoll.client.send(sessionId, { content }));
  const done = JSON.parse(events.at(-1)?.text ?? '{}');
  assert.equal(done.status, 'completed', JSON.stringify(done));
}

const show = async (sessionId: string) => (await atoll.client.call('session.show', { sessionId })).session;

for (const link of ['http', 'grpc'] as const)
  test(`${link}: told a fact and asked to write a file on a runner that is then gone for good, it knows the fact on another one, and the file is there`, {
    timeout: 90_000,
  }, async () => {
    const env = { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url };
    const start = (name: string): Promise<RunnerProcess> =>
      startRunner(atoll, `${name}-${link}`, { link, env, args: ['--driver', 'bubblewrap'] });
    const first = await start('a');
    const { session } = await atoll.client.call('session.create', { agent: 'hello' });
    const { id } = session;
    assert.equal(session.runnerId, first.id);
    await say(id, 'remember the harbour is at 53 north');
    await say(id, 'write hello.txt: Hello from inside');
    // The snapshot of the last turn is there.
    await atoll.client.call('session.state', { sessionId: id, at: (await show(id)).lastSeq });
    await using second = await start('b');
    await first.destroy();
    const lost = await until(async () => {
      const { status, cause } = await show(id);
      return status === 'paused' && cause;
    }, 30_000);
    assert.equal(lost, 'runner_lost');

    const asked = api.requests.length;
    await say(id, 'what do you remember?');
    assert.equal((await show(id)).runnerId, second.id);
    const sent = api.requests.slice(asked).map(({ body }) => JSON.stringify(body));
    const question = sent.find((body) => body.includes('what do you remember?')) ?? '';
    for (const earlier of ['the harbour is at 53 north', 'hello.txt', 'Hello from inside'])
      assert.ok(question.includes(earlier), `the model was sent: ${earlier}`);
    assert.equal(
      await new Response(await atoll.client.readFile(id, 'hello.txt')).text(),
      'Hello from inside',
    );
    const inside = await atoll.client.call('session.exec', { sessionId: id, command: 'cat hello.txt' });
    assert.equal(inside.stdout, 'Hello from inside');
    await atoll.client.call('session.end', { sessionId: id });
  });
