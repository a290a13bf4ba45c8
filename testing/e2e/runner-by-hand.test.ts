/** The commands of docs/runners.md, run one after the other by a shell against a real runner: curl is all they need. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { internalOperations } from '@atoll/protocol/internal-operations';
import { runnerOperations } from '@atoll/protocol/runner-operations';
import { startAtoll } from '../atoll.ts';
import { startRunner } from '../runner-process.ts';

const run = promisify(execFile);
const text = readFileSync(new URL('../../docs/runners.md', import.meta.url), 'utf8');
const byHand = text.slice(text.indexOf('## By hand'));
const steps = [...byHand.matchAll(/```sh\n(.*?)```\n```text\n(.*?)```/gs)].map(
  ([, command = '', expected = '']) => ({
    command,
    expected: expected.trimEnd().split('\n'),
  }),
);

/** Method and path of each call, without what varies. */
const calls = steps.flatMap(({ command }) =>
  [...command.matchAll(/curl -sN?(?: -X (\w+))? "?\$(?:RUNNER|SERVER)([^\s"?]*)/g)].map(
    ([, method = 'GET', path = '']) => `${method} ${path}`,
  ),
);
const registering = ['runner.register', 'runner.heartbeat', 'runner.deregister'] as const;

test('the page has a command for everything that can be asked of a runner, and that a runner asks', () => {
  const operations = [
    ...Object.values(runnerOperations),
    ...registering.map((name) => internalOperations[name]),
  ];
  for (const { rest } of operations) {
    const pattern = rest.path.replace(/:\w+/g, '[^/]+').replace(/\*\w+/, '.+');
    const found = calls.some((call) => new RegExp(`^${rest.method} ${pattern}$`).test(call));
    assert.ok(found, `no command for ${rest.method} ${rest.path}`);
  }
});

test('the commands of the page do what it says', { timeout: 60_000 }, async () => {
  await using atoll = await startAtoll({ args: ['--no-runner'] });
  await using runner = await startRunner(atoll, 'by-hand');
  const { secret } = await atoll.client.call('key.create', { role: 'runner' });
  assert.equal(steps.length, 13);
  for (const { command, expected } of steps) {
    const { PATH = '' } = process.env;
    const env = { PATH, RUNNER: runner.url, TOKEN: runner.callbackToken, SERVER: atoll.url, KEY: secret };
    const { stdout } = await run('bash', ['-c', command], { env });
    let from = 0;
    for (const line of expected) {
      const at = stdout.indexOf(line, from);
      assert.notEqual(at, -1, `${command}\nsaid\n${stdout}\nand not ${line}`);
      from = at + line.length;
    }
  }
});
