import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import { createGatewayCredentials, KEEP_MS } from './credentials.ts';

const session = { id: 'ses_1', epoch: 3 };

function credential(version: number): GatewayCredential {
  return {
    name: 'npm',
    version,
    target: { at: 'hosts', hosts: ['npm.example.com'] },
    methods: undefined,
    paths: undefined,
    header: { name: 'authorization', value: `Bearer value-${version}` },
    secrets: [`value-${version}`],
  };
}

/** A coordinator that answers with a new version each time, when it is told to. */
function coordinator(answer: (asked: number) => Promise<readonly GatewayCredential[]>) {
  const asked: { sessionId: string; epoch: number }[] = [];
  return {
    asked,
    credentials(request: { sessionId: string; epoch: number }) {
      asked.push(request);
      return answer(asked.length);
    },
  };
}

test('asks at the first need, for its own assignment, and not again for a moment', async () => {
  let time = 1000;
  const source = coordinator(async (nth) => [credential(nth)]);
  const credentials = createGatewayCredentials({ coordinator: source, session, now: () => time });
  assert.equal(source.asked.length, 0);
  assert.equal((await credentials.current())[0]?.version, 1);
  time += KEEP_MS - 1;
  assert.equal((await credentials.current())[0]?.version, 1);
  assert.deepEqual(source.asked, [{ sessionId: 'ses_1', epoch: 3 }]);
  time += 1;
  assert.equal((await credentials.current())[0]?.version, 2, 'what is old is asked for anew');
});

test('asks once for all who need them at a time; their age counts from the question', async () => {
  let time = 0;
  const answers = [Promise.withResolvers<readonly GatewayCredential[]>()];
  const source = coordinator((nth) => answers[nth - 1]?.promise ?? Promise.resolve([credential(nth)]));
  const credentials = createGatewayCredentials({ coordinator: source, session, now: () => time });
  const needed = [credentials.current(), credentials.current(), credentials.current()];
  time += KEEP_MS;
  needed.push(credentials.current());
  answers[0]?.resolve([credential(1)]);
  for (const each of needed) assert.equal((await each)[0]?.version, 1);
  assert.equal(source.asked.length, 1);
  assert.equal((await credentials.current())[0]?.version, 2);
});

test('a refusal is said, and nothing of before is used in its place', async () => {
  let time = 0;
  const source = coordinator((nth) =>
    nth === 2 ? Promise.reject(new AtollError('stale_epoch')) : Promise.resolve([credential(nth)]),
  );
  const credentials = createGatewayCredentials({ coordinator: source, session, now: () => time });
  await credentials.current();
  time += KEEP_MS;
  await assert.rejects(credentials.current(), { code: 'credentials_unavailable', detail: /stale_epoch/ });
  assert.equal((await credentials.current())[0]?.version, 3, 'a refusal is not kept');
});

test('there are none without a session, and none after the end', async () => {
  const source = coordinator(async (nth) => [credential(nth)]);
  const bare = createGatewayCredentials({ coordinator: source, session: undefined });
  assert.deepEqual(await bare.current(), []);
  assert.equal(source.asked.length, 0);
  const credentials = createGatewayCredentials({ coordinator: source, session });
  await credentials.current();
  credentials.close();
  assert.deepEqual(await credentials.current(), []);
  assert.equal(source.asked.length, 1);
});
