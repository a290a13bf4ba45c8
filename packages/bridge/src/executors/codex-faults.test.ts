/** The executor `codex` with an app-server that misbehaves: its turn ends with a cause, and the next one is served. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { MAX_OPEN_APPROVALS } from '@atoll/protocol/approvals';
import { type BridgeUnderTest, startBridgeUnderTest } from '../bridge.fixture.ts';
import { createChildren } from '../children.ts';
import type { ExecutorContext } from '../executor.ts';
import { createTurnOutput } from './codex-output.ts';
import { CodexThread } from './codex-thread.ts';

const FIXTURE = new URL('codex-server.fixture.ts', import.meta.url).href;
const PACKAGE = `@openai/codex-${process.platform}-${process.arch}`;

describe('codex: an app-server that misbehaves', () => {
  let modules: string;
  let binary: string;
  before(() => {
    modules = mkdtempSync(join(tmpdir(), 'atoll-codex-'));
    const bin = join(modules, PACKAGE, 'vendor/any/bin');
    binary = join(bin, 'codex');
    mkdirSync(bin, { recursive: true });
    writeFileSync(binary, `#!${process.execPath}\nimport(${JSON.stringify(FIXTURE)});\n`);
    chmodSync(binary, 0o755);
  });
  after(() => rmSync(modules, { recursive: true }));

  async function start(decide?: () => Promise<unknown>): Promise<BridgeUnderTest> {
    const bridge = await startBridgeUnderTest({ env: { NODE_PATH: modules }, ...(decide && { decide }) });
    await bridge.initialize({ kind: 'codex' });
    return bridge;
  }

  const raw = (text: string) => `raw ${JSON.stringify(text)}`;
  const misbehaviours: [what: string, content: string, cause: string, detail: RegExp][] = [
    ['crashes', 'crash', 'executor_crashed', /ended with exit code 7: out of luck/],
    ['writes a huge line', 'huge', 'executor_protocol', /a line of more than \d+ bytes/],
    ['writes garbage', raw('hello\n'), 'executor_protocol', /not JSON-RPC/],
    ['writes half a line', raw('{"method":"turn/started","params":{\n'), 'executor_protocol', /not JSON-RPC/],
    ['writes a list', raw('[]\n'), 'executor_protocol', /not JSON-RPC/],
    [
      'asks with an id of no form',
      raw('{"id":{},"method":"item/x/request","params":{}}\n'),
      'executor_protocol',
      /not JSON-RPC/,
    ],
    ['breaks a line', raw('{"method":"x","params":{\r}}\n'), 'executor_protocol', /carriage return/],
    ['writes no text', raw('{"method":"x","params":{"a":"\xff"}}\n'), 'executor_protocol', /UTF-8/],
  ];
  for (const [what, content, cause, detail] of misbehaviours)
    it(`${what}: the turn ends, and the next goes on with the conversation`, async () => {
      await using bridge = await start();
      await bridge.query('hello');
      assert.equal(lastSaid(bridge), 'new');
      const end = await bridge.query(content);
      assert.deepEqual([end.status, end.cause], ['failed', cause]);
      assert.match(end.detail ?? '', detail);
      assert.equal((await bridge.query('hello')).status, 'completed');
      assert.equal(lastSaid(bridge), 'resumed');
    });

  it('asks more than anybody can decide: what is too much is denied', async () => {
    const waiting = Promise.withResolvers<unknown>();
    let asked = 0;
    await using bridge = await start(() => {
      // All are written at once, but may be read in several pieces: decided at once, there would never be too many.
      if (++asked === MAX_OPEN_APPROVALS) setTimeout(waiting.resolve, 200, { decision: 'allow' });
      return waiting.promise;
    });
    const turn = bridge.query('storm');
    assert.equal((await turn).status, 'completed');
    const declined = Number(lastSaid(bridge).replace('declined ', ''));
    assert.ok(declined > 0 && declined <= 100 - MAX_OPEN_APPROVALS, String(declined));
  });

  it('never answers: it is given up after a minute', async () => {
    const due: (() => void)[] = [];
    const context: ExecutorContext = {
      settings: { kind: 'codex' },
      workspace: modules,
      env: { PATH: process.env.PATH, SILENT: 'initialize' },
      output: { messages: () => undefined, log: () => undefined },
      approve: async () => ({ decision: 'cancelled' }),
      children: createChildren(),
      timers: {
        after(delayMs, run) {
          if (delayMs === 60_000) due.push(run);
          return () => undefined;
        },
      },
    };
    const output = createTurnOutput(context.output);
    const thread = new CodexThread({ context, binary, home: modules, output });
    const opened = assert.rejects(thread.open(undefined), /did not answer initialize within 60 s/);
    for (const run of due) run();
    await opened;
    const { cause, detail } = await thread.failure;
    assert.equal(cause, 'executor_protocol');
    assert.match(detail ?? '', /did not answer initialize within 60 s, so it was ended/);
  });
});

function lastSaid({ messages }: BridgeUnderTest): string {
  const items = messages.map(({ params }) => Object(params).item).filter(Boolean);
  return String(items.at(-1)?.text);
}
