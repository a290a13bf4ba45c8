/**
 * What a session is like whatever makes its sandbox, through a real server: a program and the real Claude SDK, files,
 * exec, pause and resume, limits, nothing of the host inside, nothing left after a kill -9.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { versatile } from './agents.ts';
import { type Atoll, deploy, deployProgram, startAtoll } from './atoll.ts';
import { turnOf } from './attack.ts';
import { killAndRestart } from './crash.ts';
import { type MessagesApi, startMessagesApi } from './stand-ins/messages-api.ts';

const KEY = 'sk-ant-test-THE-MARKED-SECRET-0123456789';
const HOST_MARK = 'only-in-the-environment-of-the-host';

export function driverSessions(
  driver: string,
  { args, env }: { args: readonly string[]; env?: Record<string, string> },
): void {
  describe(`sessions: ${driver}`, { concurrency: false }, () => {
    let api: MessagesApi;
    let atoll: Atoll;

    before(async () => {
      api = await startMessagesApi({ apiKey: KEY });
      const model = { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url };
      atoll = await startAtoll({ args, env: { ...env, ...model, ATOLL_TEST_MARK: HOST_MARK } });
      await deployProgram(atoll.client, 'versatile', versatile, { limits: { memoryMb: 512 } });
      const permissions = { allow: ['Write', 'Read', 'Bash'] };
      await deploy(atoll.client, 'hello', {
        'CLAUDE.md': 'You are a test agent.',
        '.claude/settings.json': JSON.stringify({ permissions }),
      });
    });
    after(async () => {
      await atoll[Symbol.asyncDispose]();
      await api.close();
    });

    const open = async (agent: string) => (await atoll.client.call('session.create', { agent })).session.id;
    const exec = (sessionId: string, command: string) =>
      atoll.client.call('session.exec', { sessionId, command, timeoutMs: 30_000 });
    const read = async (id: string, path: string) =>
      new Response(await atoll.client.readFile(id, path)).text();
    const saidIn = ({ seen }: Awaited<ReturnType<typeof turnOf>>) => seen.map(({ data }) => data).join('\n');

    it('runs turns and commands, and shares files both ways', async () => {
      const id = await open('versatile');
      assert.match(saidIn(await turnOf(atoll, id, 'hello there')), /"text":"hello there"/);
      await atoll.client.writeFile(id, 'in.txt', new TextEncoder().encode('from outside'));
      const { stdout, exitCode } = await exec(id, 'cat in.txt; echo from inside > out.txt; pwd; echo $HOME');
      assert.deepEqual([stdout, exitCode], ['from outside/workspace\n/home/agent\n', 0]);
      assert.equal(await read(id, 'out.txt'), 'from inside\n');
      await atoll.client.call('session.end', { sessionId: id });
    });

    it('goes on after a pause where its files are', async () => {
      const id = await open('versatile');
      await turnOf(atoll, id, 'remember the lighthouse');
      await exec(id, 'echo kept > kept.txt');
      await atoll.client.call('session.pause', { sessionId: id });
      await atoll.client.call('session.resume', { sessionId: id });
      assert.match(saidIn(await turnOf(atoll, id, 'recall')), /the lighthouse/);
      assert.equal(await read(id, 'kept.txt'), 'kept\n');
      await atoll.client.call('session.end', { sessionId: id });
    });

    it('is as it was in a fork of it', async () => {
      const id = await open('versatile');
      await exec(id, 'echo before > when.txt');
      await turnOf(atoll, id, 'remember the fork');
      const fork = (await atoll.client.call('session.fork', { sessionId: id })).session.id;
      await exec(id, 'echo after > when.txt');
      assert.match(saidIn(await turnOf(atoll, fork, 'recall')), /the fork/);
      assert.equal(await read(fork, 'when.txt'), 'before\n');
      for (const sessionId of [id, fork]) await atoll.client.call('session.end', { sessionId });
    });

    it('runs the real Claude SDK, which reaches the model and no key', { timeout: 120_000 }, async () => {
      const id = await open('hello');
      const { done } = await turnOf(atoll, id, 'write hello.txt: Hello from inside');
      assert.equal(done.status, 'completed', JSON.stringify(done));
      assert.equal(await read(id, 'hello.txt'), 'Hello from inside');
      await turnOf(atoll, id, 'remember the harbour is at 53 north');
      assert.match(saidIn(await turnOf(atoll, id, 'what do you remember?')), /53 north/);
      await atoll.client.call('session.end', { sessionId: id });
    });

    it('shows no secret, no host and no network', async () => {
      const id = await open('versatile');
      const { stdout: environment } = await exec(id, 'cat /proc/[0-9]*/environ | tr "\\0" "\\n"; echo');
      assert.match(environment, /^ATOLL_API_URL=/m);
      for (const secret of [KEY, HOST_MARK, atoll.key]) assert.ok(!environment.includes(secret), secret);
      const look = `ls -d ${atoll.dataDir} /root/* /var/lib/dpkg 2>/dev/null; cat /etc/shadow; cat /etc/resolv.conf`;
      const { stdout } = await exec(id, look);
      assert.doesNotMatch(stdout, /atoll-test|dpkg|root:|nameserver (?!127\.)/);
      const url = new URL(atoll.url);
      const connect = `require("net").connect(${url.port}, "127.0.0.1").on("error", (e) => console.log(e.code)).on("connect", () => console.log("connected"))`;
      assert.equal((await exec(id, `node -e '${connect}'`)).stdout, 'ECONNREFUSED\n');
      await atoll.client.call('session.end', { sessionId: id });
    });

    it('ends a turn with oom, and goes on', { timeout: 60_000 }, async () => {
      const id = await open('versatile');
      const eat = 'const all = []; for (;;) all.push(Buffer.alloc(8 << 20, 1))';
      const turn = turnOf(atoll, id, 'wait');
      await exec(id, `node -e '${eat}'`).catch(() => undefined);
      const { done } = await turn;
      assert.deepEqual([done.status, done.cause], ['failed', 'oom'], JSON.stringify(done));
      assert.equal((await turnOf(atoll, id, 'again')).done.status, 'completed');
      await atoll.client.call('session.end', { sessionId: id });
    });

    it('leaves nothing after a kill -9 of the server, and goes on', { timeout: 60_000 }, async () => {
      const id = await open('versatile');
      await turnOf(atoll, id, 'remember the storm');
      await killAndRestart(atoll);
      assert.match(saidIn(await turnOf(atoll, id, 'recall')), /the storm/);
      await atoll.client.call('session.end', { sessionId: id });
    });
  });
}
