/** The bridge process as a whole, over a real socketpair. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { MESSAGE_PREFIX } from '@atoll/protocol/message-line';
import { type BridgeUnderTest, type BridgeUnderTestOptions, startBridgeUnderTest } from './bridge.fixture.ts';
import { childrenOf, gone } from './executor.contract.ts';

/** A bridge whose program is this script; `emit` writes to stdout without loss, `turn` is called with each turn. */
async function startWith(script: string, options: BridgeUnderTestOptions = {}): Promise<BridgeUnderTest> {
  const bridge = await startBridgeUnderTest(options);
  const file = join(bridge.workspace, 'agent.mjs');
  writeFileSync(file, `${PRELUDE}\n${script}`);
  await bridge.initialize({ kind: 'program', command: [process.execPath, file] });
  return bridge;
}

const PRELUDE = `
  import { createInterface } from 'node:readline';
  const emit = (data) => new Promise((resolve) => process.stdout.write(data, resolve));
  const done = (more = {}) => emit(JSON.stringify({ type: 'result', ...more }) + '\\n');
  createInterface({ input: process.stdin }).on('line', (line) => turn(JSON.parse(line)));`;

describe('bridge protocol', () => {
  it('refuses what it does not know, and stays', async () => {
    await using bridge = await startBridgeUnderTest();
    const executor = { kind: 'program', command: ['cat'] };
    const { workspace } = bridge;
    const env = {};
    await assert.rejects(bridge.query('too early'), { code: 'illegal_transition' });
    await assert.rejects(
      bridge.peer.call('initialize', { protocolVersion: 2, executor, workspace, env }),
      /protocolVersion 2/,
    );
    for (const wrong of [{ executor: 'program' }, { executor: null }, { parked: true }, { env: { A: 1 } }])
      await assert.rejects(bridge.peer.call('initialize', { protocolVersion: 1, workspace, env, ...wrong }), {
        code: 'invalid_request',
      });
    await assert.rejects(bridge.peer.call('nonsense', {}), /no method nonsense/);
    assert.deepEqual(await bridge.peer.call('initialize', { protocolVersion: 1, executor, workspace, env }), {
      protocolVersion: 1,
    });
    await assert.rejects(bridge.peer.call('initialize', { protocolVersion: 1, executor, workspace, env }), {
      code: 'illegal_transition',
    });
    await assert.rejects(bridge.peer.call('query', { turnId: 't', content: 3 }), { code: 'invalid_request' });
    await assert.rejects(bridge.peer.call('resume', { executorSessionId: '--help' }), {
      code: 'invalid_request',
    });
  });

  it('without an executor runs commands, and fails a turn with that reason', async () => {
    await using bridge = await startBridgeUnderTest();
    await bridge.peer.call('initialize', { protocolVersion: 1, workspace: bridge.workspace, env: {} });
    const ran = await bridge.peer.call('exec', { execId: 'e', command: 'exit 3' });
    assert.deepEqual(ran, { exitCode: 3, signal: null, timedOut: false });
    const { status, cause } = (await bridge.query('hello')) as { status: string; cause: string };
    assert.deepEqual({ status, cause }, { status: 'failed', cause: 'executor_unavailable' });
  });

  it('gives the variables it is told to what it starts, and heeds none of them', async () => {
    await using bridge = await startBridgeUnderTest();
    const { workspace } = bridge;
    writeFileSync(
      join(workspace, 'load.cjs'),
      'require("fs").writeSync(2, "loaded by " + process.pid + "\\n");',
    );
    const env = { NODE_OPTIONS: `--require ${join(workspace, 'load.cjs')}`, LANG: 'own' };
    const executor = { kind: 'program', command: [process.execPath, '-e', 'setInterval(() => {}, 1000)'] };
    await bridge.peer.call('initialize', { protocolVersion: 1, executor, workspace, env });
    const execId = 'a';
    await bridge.peer.call('exec', { execId, command: 'node -e 0; echo $LANG' });
    const said = bridge.output.map(({ text }) => text).join('');
    assert.match(said, /loaded by/);
    assert.match(said, /^own$/m);
    assert.ok(!said.includes(`loaded by ${bridge.child.pid}`));
    assert.ok(!readFileSync(`/proc/${bridge.child.pid}/environ`, 'latin1').includes('NODE_OPTIONS'));
  });

  it('shuts down with exit code 0', async () => {
    await using bridge = await startWith('const turn = () => done();');
    await bridge.query('hello');
    assert.deepEqual(await bridge.peer.call('shutdown', {}), {});
    if (bridge.child.exitCode === null) await once(bridge.child, 'exit');
    assert.equal(bridge.child.exitCode, 0);
  });

  it('ends when the runner sends something that is not JSON-RPC', async () => {
    await using bridge = await startBridgeUnderTest();
    bridge.socket.write('garbage\n');
    await once(bridge.child, 'exit');
  });
});

describe('program output', () => {
  it('passes bytes through as they are, whatever the borders of chunks', async () => {
    const seen: Uint8Array[] = [];
    await using bridge = await startWith(
      `const line = Buffer.from('{ "text" :  "héllo 🌊 ' + 'ü'.repeat(40000) + '"}\\n');
       const turn = async () => {
         for (let at = 0; at < line.length; at += 4099) {
           await emit(line.subarray(at, at + 4099));
           await new Promise((resolve) => setTimeout(resolve, 1));
         }
         await done();
       };`,
      { onBlock: (block) => seen.push(block.slice()) },
    );
    assert.equal((await bridge.query('go')).status, 'completed');
    const lines = Buffer.concat(seen).toString().split('\n');
    const expected = `${MESSAGE_PREFIX}{ "text" :  "héllo 🌊 ${'ü'.repeat(40_000)}"}}`;
    assert.ok(lines.includes(expected), 'the line arrived as it was written');
  });

  it('carries a million short lines in order', async () => {
    let bytes = 0;
    let lines = 0;
    await using bridge = await startWith(
      `const turn = async () => {
         for (let n = 0; n < 1000; n++) await emit('{"n":1}\\n'.repeat(1000));
         await done();
       };`,
      {
        onBlock(block) {
          bytes += block.length;
          for (let at = block.indexOf(10); at !== -1; at = block.indexOf(10, at + 1)) lines++;
        },
      },
    );
    assert.equal((await bridge.query('go')).status, 'completed');
    // A million messages, their result, and the answers to initialize and query.
    assert.equal(lines, 1_000_003);
    assert.ok(bytes > 1_000_000 * (MESSAGE_PREFIX.length + 9));
  });

  const garbage: Record<string, string> = {
    'a line that is no object': `'hello\\n'`,
    'an empty line': `'\\n'`,
    'a raw CR': `'{"a":1}\\r\\n'`,
    'a NUL': `'{"a":"\\0"}\\n'`,
    'invalid UTF-8': `Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d, 0x0a])`,
    'a result that is not JSON': `'{"type":"result",}\\n'`,
  };
  for (const [name, expression] of Object.entries(garbage))
    it(`fails the turn on ${name}, and starts anew for the next`, async () => {
      await using bridge = await startWith(
        `const turn = async ({ content }) => {
           if (content === 'bad') await emit(Buffer.concat([Buffer.from('{"good":1}\\n'), Buffer.from(${expression})]));
           await done({ result: 'fine' });
         };`,
      );
      const end = await bridge.query('bad');
      assert.equal(end.status, 'failed');
      assert.equal(end.cause, 'executor_protocol');
      assert.deepEqual(bridge.messages, [{ good: 1 }]);
      assert.equal((await bridge.query('good')).status, 'completed');
    });

  it('takes a line of 30 MiB, and refuses one of 40', async () => {
    await using bridge = await startWith(
      `const turn = async ({ content }) => {
         await emit('{"text":"' + 'x'.repeat(content * 1024 * 1024) + '"}\\n');
         await done();
       };`,
    );
    assert.equal((await bridge.query('30')).status, 'completed');
    assert.equal(String(bridge.messages[0]?.text).length, 30 * 1024 * 1024);
    const end = await bridge.query('40');
    assert.equal(end.cause, 'executor_protocol');
    assert.match(end.detail ?? '', /more than 33554\d+ bytes/);
  });

  it('says how the program ended, and that it could not be started', async () => {
    await using bridge = await startWith(`const turn = () => process.exit(7);`);
    const end = await bridge.query('go');
    assert.equal(end.cause, 'executor_crashed');
    assert.match(end.detail ?? '', /exit code 7/);
    await using other = await startBridgeUnderTest();
    await other.initialize({ kind: 'program', command: ['/nonexistent/program'] });
    assert.equal((await other.query('go')).cause, 'executor_unavailable');
    assert.equal((await other.query('again')).cause, 'executor_unavailable');
  });

  it('drops, and says so, what comes between turns', async () => {
    await using bridge = await startWith(
      `const turn = async () => emit('{"type":"result"}\\n{"late":1}\\n{"type":"result"}\\n');`,
    );
    assert.equal((await bridge.query('go')).status, 'completed');
    await bridge.until(() => bridge.logs.some((text) => text.includes('2 lines outside a turn')));
    assert.deepEqual(bridge.messages, [{ type: 'result' }]);
  });

  it('bounds the log of a turn', async () => {
    await using bridge = await startWith(
      `const turn = async () => { process.stderr.write('e'.repeat(1_000_000), () => setTimeout(done, 50)); };`,
    );
    assert.equal((await bridge.query('go')).status, 'completed');
    assert.ok(bridge.logs.every((text) => text.length <= 8 * 1024));
    assert.ok(bridge.logs.join('').length < 66 * 1024);
    assert.match(bridge.logs.at(-1) ?? '', /the rest is dropped/);
  });

  it('holds the program, not its output, while the runner does not read', async () => {
    let bytes = 0;
    await using bridge = await startWith(
      `const line = '{"text":"' + 'x'.repeat(1000) + '"}\\n';
       const turn = async () => {
         for (let n = 0; n < 300; n++) await emit(line.repeat(1000));
         await done();
       };`,
      {
        onBlock(block) {
          bytes += block.length;
        },
      },
    );
    const before = memoryOf(bridge.child.pid);
    const running = bridge.query('go');
    await bridge.until(() => bytes > 0);
    bridge.socket.pause();
    let most = 0;
    for (let look = 0; look < 10; look++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      most = Math.max(most, memoryOf(bridge.child.pid));
    }
    bridge.socket.resume();
    assert.equal((await running).status, 'completed');
    assert.ok(bytes > 300_000_000);
    assert.ok(most - before < 64, `grew by ${most - before} MiB`);
  });
});

describe('exec', () => {
  it('gives output in order, the exit code, and the workspace as cwd', async () => {
    await using bridge = await startWith('const turn = () => done();');
    const command = 'pwd; echo oops >&2; printf "\\303"; sleep 0.05; printf "\\251"; exit 3';
    const result = await bridge.peer.call('exec', { execId: 'a', command });
    assert.deepEqual(result, { exitCode: 3, signal: null, timedOut: false });
    assert.equal(textOf(bridge, 'stdout'), `${bridge.workspace}\né`);
    assert.equal(textOf(bridge, 'stderr'), 'oops\n');
  });

  it('says of a directory that it cannot run in that it is none', async () => {
    await using bridge = await startWith('const turn = () => done();');
    for (const cwd of ['nowhere', '/etc/passwd'])
      await assert.rejects(bridge.peer.call('exec', { execId: 'a', command: 'pwd', cwd }), {
        message: new RegExp(`could not be started: ${cwd} is no directory that it can run in`),
      });
  });

  it('ends what takes too long, with its children', async () => {
    await using bridge = await startWith('const turn = () => done();');
    const command = 'sleep 100 & echo $!; wait';
    const result = await bridge.peer.call('exec', { execId: 'a', command, timeoutMs: 100 });
    assert.deepEqual(result, { exitCode: null, signal: 'SIGTERM', timedOut: true });
    await gone([Number(textOf(bridge, 'stdout'))]);
  });

  it('is cancelled, and neither waits for what it left in the background nor forgets it', async () => {
    await using bridge = await startWith('const turn = () => done();');
    const running = bridge.peer.call('exec', { execId: 'a', command: 'echo on; sleep 100' });
    await bridge.until(() => bridge.output.length > 0);
    assert.deepEqual(await bridge.peer.call('exec.cancel', { execId: 'a' }), {});
    assert.deepEqual(await running, { exitCode: null, signal: 'SIGTERM', timedOut: false });
    const result = await bridge.peer.call('exec', { execId: 'b', command: 'sleep 100 & echo $!' });
    assert.deepEqual(result, { exitCode: 0, signal: null, timedOut: false });
    const pid = Number(bridge.output.at(-1)?.text);
    process.kill(pid, 0);
    await bridge.end();
    await gone([pid]);
  });

  it('loses nothing to a slow reader', async () => {
    await using bridge = await startWith('const turn = () => done();');
    bridge.socket.pause();
    const running = bridge.peer.call('exec', { execId: 'a', command: 'yes 0123456789 | head -c 20000000' });
    await new Promise((resolve) => setTimeout(resolve, 600));
    bridge.socket.resume();
    assert.deepEqual(await running, { exitCode: 0, signal: null, timedOut: false });
    assert.equal(textOf(bridge, 'stdout').length, 20_000_000);
  });
});

it('leaves no process of a program or an exec behind when fd 3 closes, wherever they moved', async () => {
  const bridge = await startWith(
    `import { spawn } from 'node:child_process';
     const turn = () => {
       const child = spawn('sleep', ['1000'], { detached: true });
       emit(JSON.stringify({ pid: child.pid }) + '\\n');
     };`,
  );
  bridge.query('go').catch(() => undefined);
  bridge.peer.call('exec', { execId: 'a', command: 'sleep 1000 & echo $!; wait' }).catch(() => undefined);
  await bridge.until(() => bridge.messages.length > 0 && bridge.output.length > 0);
  const pids = [
    ...childrenOf(bridge.child.pid),
    Number(bridge.messages[0]?.pid),
    Number(textOf(bridge, 'stdout')),
  ];
  assert.equal(pids.length, 4);
  await bridge.end();
  await gone(pids);
});

function textOf(bridge: BridgeUnderTest, stream: string): string {
  return bridge.output
    .filter((piece) => piece.stream === stream)
    .map(({ text }) => text)
    .join('');
}

/** Resident memory in MiB. */
function memoryOf(pid: number | undefined): number {
  return Number(/VmRSS:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024;
}
