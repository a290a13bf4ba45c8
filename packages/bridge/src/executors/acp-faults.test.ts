/** The executor `acp` with an agent that misbehaves: its turn ends with a cause, and the next one is served. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createChildren } from '../children.ts';
import { said, settings, start } from './acp.fixture.ts';
import { createAcpExecutor } from './acp.ts';

describe('acp: an agent that misbehaves', () => {
  const misbehaviours: [what: string, content: string, cause: string, detail: RegExp][] = [
    ['crashes', 'crash', 'executor_crashed', /ended with exit code 7/],
    ['writes a line without an end', 'endless', 'executor_protocol', /a line of more than \d+ bytes/],
    ['writes garbage', 'raw "hello\\n"', 'executor_protocol', /not of its protocol/],
    ['writes half a line of JSON', 'raw "{\\"jsonrpc\\":\\n"', 'executor_protocol', /not of its protocol/],
    [
      'writes bytes that are no text',
      'raw "{\\"jsonrpc\\":\\"\\ud800\\n"',
      'executor_protocol',
      /not of its protocol/,
    ],
    ['writes a list', 'raw "[]\\n"', 'executor_protocol', /not a JSON-RPC 2.0 message/],
    [
      'updates nothing',
      'raw "{\\"jsonrpc\\":\\"2.0\\",\\"method\\":\\"session/update\\"}\\n"',
      'executor_protocol',
      /no object/,
    ],
    [
      'breaks an update into lines',
      'raw "{\\"jsonrpc\\":\\"2.0\\",\\"method\\":\\"session/update\\",\\"params\\":{\\r}}\\n"',
      'executor_protocol',
      /no object of one line/,
    ],
  ];
  for (const [what, content, cause, detail] of misbehaviours)
    it(`${what}: the turn ends, and the next goes on with the conversation`, async () => {
      await using bridge = await start();
      await said(bridge, 'remember orange');
      const end = await bridge.query(content);
      assert.deepEqual([end.status, end.cause], ['failed', cause]);
      assert.match(end.detail ?? '', detail);
      assert.equal(
        await said(bridge, 'what do you remember?'),
        'I remember: orange',
        'and nothing is replayed',
      );
    });

  it('does not hear session/cancel: it is ended in time, and the next turn goes on', async () => {
    await using bridge = await start({ mock: 'deaf' });
    await said(bridge, 'remember grey');
    const turn = bridge.query('count slowly to 1000', {}, 'long');
    await bridge.until(() => bridge.messages.length > 3);
    await bridge.peer.call('interrupt', { turnId: 'long' });
    assert.deepEqual([(await turn).status, (await turn).cause], ['interrupted', 'interrupted']);
    assert.equal(await said(bridge, 'what do you remember?'), 'I remember: grey');
  });

  it('is not there, or no program', async () => {
    for (const [file, why] of [
      ['/nowhere/agent', /could not be started: there is no program \/nowhere\/agent in its sandbox/],
      ['/etc/passwd', /could not be started: \/etc\/passwd may not be executed there/],
    ] as const) {
      await using bridge = await start({ more: { command: [file] } });
      const end = await bridge.query('hello');
      assert.deepEqual([end.status, end.cause], ['failed', 'executor_unavailable']);
      assert.match(end.detail ?? '', why);
    }
  });

  it('ends while it starts', async () => {
    await using bridge = await start({ more: { command: ['sh', '-c', 'echo no config >&2; exit 3'] } });
    const end = await bridge.query('hello');
    assert.deepEqual(
      [end.cause, end.detail],
      ['executor_crashed', 'The agent ended with exit code 3: no config'],
    );
  });

  it('wants to be logged in', async () => {
    await using bridge = await start({ mock: 'auth' });
    const end = await bridge.query('hello');
    assert.deepEqual([end.status, end.cause], ['failed', 'auth_required']);
    assert.match(end.detail ?? '', /\$ATOLL_API_URL/);
  });

  it('speaks another version', async () => {
    await using bridge = await start({ mock: 'future' });
    const end = await bridge.query('hello');
    assert.deepEqual(
      [end.cause, end.detail],
      ['executor_protocol', 'The agent speaks version 7 of ACP, and this bridge 1.'],
    );
  });

  it('never answers: it is given up after a minute', async () => {
    const workspace = mkdtempSync(join(tmpdir(), 'atoll-acp-'));
    const deadlines: { delayMs: number; run: () => void }[] = [];
    const children = createChildren();
    const executor = createAcpExecutor({
      settings,
      workspace,
      env: { PATH: process.env.PATH, HOME: workspace, MOCK: 'mute' },
      output: { messages: () => undefined, log: () => undefined },
      approve: async () => ({ decision: 'deny' }),
      children,
      timers: {
        after(delayMs, run) {
          deadlines.push({ delayMs, run });
          return () => undefined;
        },
      },
    });
    const turn = executor.query({ turnId: 't', content: 'hello', options: {} });
    // The deadline is set once the process has been started.
    await new Promise(setImmediate);
    const [deadline] = deadlines;
    assert.equal(deadline?.delayMs, 60_000);
    deadline?.run();
    const end = await turn;
    assert.deepEqual([end.status, end.cause], ['failed', 'executor_unavailable']);
    assert.match(end.detail ?? '', /did not open a conversation within 60 s/);
    children.killAll();
    rmSync(workspace, { recursive: true });
  });
});
