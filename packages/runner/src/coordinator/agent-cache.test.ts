import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAgentCache } from './agent-cache.ts';

function setUp(maxBytes: number) {
  const fetched: string[] = [];
  let failing = false;
  const cache = createAgentCache(
    {
      manifest: async ({ hash }) => {
        fetched.push(`manifest ${hash}`);
        return { files: [] };
      },
      file: async ({ tenant, hash }) => {
        fetched.push(`${tenant} ${hash}`);
        if (failing) throw new Error('down');
        return new Uint8Array(1000);
      },
    },
    maxBytes,
  );
  return { cache, fetched, fail: (is: boolean) => (failing = is) };
}

test('what is asked for again is not fetched again, by any number at a time; another tenant’s is another one', async () => {
  const { cache, fetched } = setUp(1_000_000);
  const ask = (tenant: string) => cache.file({ tenant, hash: 'a' });
  await Promise.all([ask('t'), ask('t')]);
  assert.equal((await ask('t')).length, 1000);
  await ask('u');
  await cache.manifest({ tenant: 't', hash: 'a' });
  await cache.manifest({ tenant: 't', hash: 'a' });
  assert.deepEqual(fetched, ['t a', 'u a', 'manifest a']);
});

test('it is bounded: what was not asked for the longest goes first', async () => {
  const { cache, fetched } = setUp(3000);
  const ask = (hash: string) => cache.file({ tenant: 't', hash });
  for (const hash of ['a', 'b', 'a', 'c', 'a', 'b']) await ask(hash);
  assert.deepEqual(fetched, ['t a', 't b', 't c', 't b']);
});

test('a failure is not kept', async () => {
  const { cache, fail } = setUp(3000);
  fail(true);
  await assert.rejects(cache.file({ tenant: 't', hash: 'a' }), /down/);
  fail(false);
  assert.equal((await cache.file({ tenant: 't', hash: 'a' })).length, 1000);
});
