import assert from 'node:assert/strict';
import { test } from 'node:test';
import Docker from 'dockerode';
import { endOf } from './docker-end.ts';

/** Aborted when it went away. */
const gone = AbortSignal.abort(new Error('gone'));

/** A container whose engine went away while it was waited for; answers `remove` with one of these after another. */
function lostContainer(answers: readonly (Error | undefined)[]) {
  let asked = 0;
  const container = Object.assign(new Docker({ socketPath: '/nowhere' }).getContainer('c'), {
    wait: () => new Promise<never>(() => undefined),
    async remove() {
      const answer = answers[Math.min(asked++, answers.length - 1)];
      if (answer) throw answer;
    },
  });
  return { container, asked: () => asked };
}

const away = new Error('connect ENOENT');
const refusal = (statusCode: number) => Object.assign(new Error(`${statusCode}`), { statusCode });
const killed = { exitCode: null, signal: 'SIGKILL' };

test('a container that outlives its engine has ended when the engine is back and removed it', async () => {
  const warnings: string[] = [];
  const options = {
    warn: (_error: unknown, text: string) => void warnings.push(text),
    gone,
    stopping: new AbortController().signal,
    retryMs: 1,
  };
  for (const last of [undefined, refusal(404)]) {
    const { container, asked } = lostContainer([away, away, refusal(409), last]);
    assert.deepEqual(await endOf(container, options), killed);
    assert.equal(asked(), 4);
  }
  const told = 'the end of a container could not be awaited';
  assert.deepEqual(warnings, [told, told]);
});

test('a driver that stops does not wait for an engine that is away', { timeout: 5000 }, async () => {
  const warnings: string[] = [];
  const stop = new AbortController();
  const { container, asked } = lostContainer([away]);
  const warn = (_error: unknown, text: string) => {
    warnings.push(text);
    stop.abort();
  };
  assert.deepEqual(await endOf(container, { warn, gone, stopping: stop.signal, retryMs: 60_000 }), killed);
  assert.equal(asked(), 1);
  assert.equal(warnings.at(-1), 'a container may run on');
});
