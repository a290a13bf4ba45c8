/** The commands of docs/runners.md, run one after the other by a shell against a real runner: curl is all they need. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
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

test('the commands of the page do what it says', { timeout: 60_000 }, async () => {
  await using atoll = await startAtoll({ args: ['--no-runner'] });
  await using runner = await startRunner(atoll, 'by-hand');
  assert.equal(steps.length, 8);
  for (const { command, expected } of steps) {
    const { PATH = '' } = process.env;
    const env = { PATH, RUNNER: runner.url, TOKEN: runner.callbackToken };
    const { stdout } = await run('bash', ['-c', command], { env });
    let from = 0;
    for (const line of expected) {
      const at = stdout.indexOf(line, from);
      assert.notEqual(at, -1, `${command}\nsaid\n${stdout}\nand not ${line}`);
      from = at + line.length;
    }
  }
});
