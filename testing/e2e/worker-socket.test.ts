/** The worker on a Unix socket: who may reach it, and hosts that are several, hostile or slow. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, lstat, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connectWorker } from '@atoll/client/worker';
import { versatile } from '../agents.ts';
import { until } from '../atoll.ts';
import { rssMbOf } from '../bench/processes.ts';
import { deployOver, type Line, type LineHost, socketHost, startWorker, type Worker } from '../worker.ts';

const token = 'a-token-of-the-host-0123456789';
const parent = await mkdtemp(join(tmpdir(), 'atoll-socket-'));
const path = join(parent, 'own', 'atoll.sock');
const env = { ATOLL_LAUNCH_TOKEN: token };
let worker: Worker;

before(async () => {
  worker = await listen(path);
  const host = await trusted();
  await deployOver(host, 'versatile', versatile);
  host.socket.destroy();
});
after(async () => {
  await end(worker);
  await rm(parent, { recursive: true });
});

async function listen(at: string): Promise<Worker> {
  const started = await startWorker({ args: ['--socket', at], env });
  await started.next((line) => (line as { event?: string }).event === 'listening');
  return started;
}

async function end(started: Worker): Promise<void> {
  started.child.kill('SIGTERM');
  await started[Symbol.asyncDispose]();
}

type SocketHost = LineHost & { socket: Socket };

async function reach(): Promise<SocketHost> {
  const socket = connect(path);
  await once(socket, 'connect');
  return { ...socketHost(socket), socket };
}

async function trusted(): Promise<SocketHost> {
  const host = await reach();
  assert.equal((await host.call('initialize', { token })).error, undefined);
  return host;
}

async function open(host: LineHost): Promise<string> {
  const { result } = await host.call('session.create', { agent: 'versatile' });
  return (result as { session: { id: string } }).session.id;
}

const isEvent =
  (sessionId: string, event: string) =>
  ({ method, params }: Line) =>
    method === 'session.event' && params?.sessionId === sessionId && params.event === event;

const mode = async (at: string) => ((await lstat(at)).mode & 0o777).toString(8);

test('it is this user’s alone', async () => {
  assert.equal(await mode(path), '600');
  assert.equal(await mode(join(parent, 'own')), '700');
  assert.equal((await lstat(path)).uid, process.getuid?.());
});

test('a directory that others can enter is refused', async () => {
  const directory = join(parent, 'shared');
  await mkdir(directory);
  await chmod(directory, 0o755);
  await using refused = await startWorker({ args: ['--socket', join(directory, 'a.sock')], env });
  assert.equal(await refused.exited, 1);
  assert.match(refused.stderr, /^.*can be entered by others.*\n$/);
});

test('what is there and is no socket is left alone', async () => {
  const file = join(parent, 'own', 'file');
  await writeFile(file, 'mine');
  await using refused = await startWorker({ args: ['--socket', file], env });
  assert.equal(await refused.exited, 1);
  assert.match(refused.stderr, /is no socket/);
});

test('without a launch token it does not listen', async () => {
  await using refused = await startWorker({ args: ['--socket', join(parent, 'own', 'b.sock')] });
  assert.equal(await refused.exited, 2);
  assert.match(refused.stderr, /ATOLL_LAUNCH_TOKEN/);
});

test('a live one is left alone, and says so in one line', async () => {
  await using refused = await startWorker({ args: ['--socket', path], env });
  assert.equal(await refused.exited, 1);
  assert.equal(refused.stderr.trimEnd().split('\n').length, 1, refused.stderr);
  assert.match(refused.stderr, /already listens/);
  const host = await trusted();
  assert.equal((await host.call('ping')).result, 'pong');
  host.socket.destroy();
});

test('a stale one is replaced', async () => {
  const stale = join(parent, 'own', 'stale.sock');
  const dead = await listen(stale);
  dead.child.kill('SIGKILL');
  await dead.exited;
  assert.ok((await lstat(stale)).isSocket());
  const next = await listen(stale);
  await using host = await connectWorker({ socket: stale, token });
  assert.equal(await host.ping(), 'pong');
  assert.equal(host.hello?.pid, next.child.pid);
  await end(next);
  await dead[Symbol.asyncDispose]();
});

test('nothing is answered before the token, and a wrong one ends the connection, not the others', async () => {
  const [good, bad] = [await trusted(), await reach()];
  assert.equal((await bad.call('ping')).error?.data?.code, 'unauthorized');
  assert.equal((await bad.call('initialize', { token: `${token}x` })).error?.data?.code, 'unauthorized');
  await bad.ended;
  assert.equal((await good.call('ping')).result, 'pong');
  await assert.rejects(connectWorker({ socket: path, token: `${token}x` }), { code: 'unauthorized' });
  good.socket.destroy();
});

test('two hosts see the same sessions, each its own subscriptions', async () => {
  const [one, other] = [await trusted(), await trusted()];
  const sessionId = await open(one);
  await other.call('session.subscribe', { sessionId });
  await one.call('session.send', { sessionId, content: 'hello' });
  await other.next(isEvent(sessionId, 'done'));
  await one.call('ping');
  assert.equal(one.lines.filter((line) => isEvent(sessionId, 'done')(line as Line)).length, 0);
  one.socket.destroy();
  assert.equal((await other.call('session.end', { sessionId })).error, undefined);
  other.socket.destroy();
});

test('a line that is too long ends the connection with the reason', async () => {
  const host = await trusted();
  host.write(Buffer.alloc(33 * 1024 * 1024, 'x'));
  await host.ended;
  const last = host.lines.at(-1) as Line;
  assert.equal(last.error?.code, -32600);
  assert.match(last.error?.message ?? '', /longer than 32 MiB/);
});

test('connectWorker comes back to a socket that was away', async () => {
  const at = join(parent, 'own', 'again.sock');
  const listener = createServer((socket) => {
    const ready = { version: '1', protocolVersion: 1, pid: 1 };
    socket.write(`${JSON.stringify({ jsonrpc: '2.0', method: 'ready', params: ready })}\n`);
    socket.once('data', (chunk) => {
      const { id } = JSON.parse(String(chunk)) as { id: number };
      socket.write(`${JSON.stringify({ jsonrpc: '2.0', id, result: ready })}\n`);
      socket.once('data', () => socket.destroy());
    });
  });
  listener.listen(at);
  await once(listener, 'listening');
  const host = await connectWorker({ socket: at, token });
  await assert.rejects(host.ping(), { name: 'WorkerGone' });
  const again = once(listener, 'connection');
  await again;
  await host.close();
  listener.close();
});

test('a host that stops reading costs the worker no memory, slows no other session, and misses nothing', async () => {
  const COUNT = 100_000;
  const flood = `emit ${COUNT} 2000`;
  const [slow, other] = [await trusted(), await trusted()];
  const [flooded, calm] = [await open(other), await open(other)];
  const idle = async (sessionId: string) => {
    const { result } = await other.call('session.show', { sessionId });
    const { status, lastSeq } = (result as { session: { status: string; lastSeq: number } }).session;
    return status === 'idle' && lastSeq > 4 ? lastSeq : undefined;
  };
  const pid = worker.child.pid ?? 0;
  // What one flood made it take is there for the next.
  const warm = await open(other);
  await other.call('session.send', { sessionId: warm, content: flood });
  await until(() => idle(warm), 60_000);
  const before = rssMbOf(pid);

  slow.socket.removeAllListeners('data');
  slow.socket.pause();
  const id = JSON.stringify(flooded);
  slow.write(`{"jsonrpc":"2.0","id":"s","method":"session.subscribe","params":{"sessionId":${id}}}\n`);
  await other.call('session.send', { sessionId: flooded, content: flood });
  await other.call('session.subscribe', { sessionId: calm });
  const since = performance.now();
  await other.call('session.send', { sessionId: calm, content: 'hello' });
  await other.next(isEvent(calm, 'done'));
  const calmMs = performance.now() - since;
  const lastSeq = await until(() => idle(flooded), 60_000);
  assert.ok(calmMs < 2000, `another session's turn took ${calmMs} ms`);
  const grown = rssMbOf(pid) - before;
  assert.ok(grown < 120, `grown by ${grown} MB of the 200 that wait`);

  const [, ...seen] = await readSeqs(slow.socket, lastSeq);
  assert.equal(seen.length + 1, lastSeq);
  assert.ok(seen.every((seq, i) => seq === i + 2));
  for (const sessionId of [warm, flooded, calm]) await other.call('session.end', { sessionId });
  for (const { socket } of [slow, other]) socket.destroy();
});

/** The seqs of the events that come, up to this one. */
async function readSeqs(socket: Socket, last: number): Promise<number[]> {
  const seqs: number[] = [];
  let rest = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    const lines = (rest + chunk.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines)
      seqs.push(...[...line.matchAll(/^.{0,130}"seq":(\d+),"ev/g)].map(([, seq]) => Number(seq)));
    if (seqs.at(-1) === last) return seqs;
  }
  throw new Error(`the connection ended after ${seqs.at(-1)}`);
}
