import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClaimSandbox } from '@atoll/protocol/runner-link';
import { readProfiles } from './executor-profiles.ts';
import { createParked } from './parked.ts';
import type { Sandbox } from './sandbox.ts';
import type { SandboxGateway } from './sandbox-gateway.ts';

const URL = 'http://127.0.0.1:4180';

/** A sandbox that waits, and what it and its gateway are told, in order. */
function park() {
  const heard: unknown[] = [];
  const sandbox = {
    id: 'sbx',
    claim: async (...told: unknown[]) => void heard.push(...told),
  } as unknown as Sandbox;
  const gateway = {
    url: URL,
    env: { ATOLL_API_URL: URL, ANTHROPIC_API_KEY: 'placeholder' },
    open: () => heard.push('open'),
  } as unknown as SandboxGateway;
  const parked = createParked(readProfiles({ cheap: { kind: 'claude', model: 'small' } }));
  parked.add({ sandbox, gateway });
  const claim = (request: Partial<ClaimSandbox> = {}) =>
    parked.claim(sandbox, {
      ...{ sandboxId: 'sbx', epoch: 1, executor: { profile: 'claude' }, env: {} },
      ...request,
    });
  return { parked, claim, heard };
}

test('its gateway opens, and then it is told what is its session’s, once', async () => {
  const { claim, heard } = park();
  await claim({ executor: { profile: 'claude', systemPrompt: 'mine' }, env: { A: '1' }, traceparent: 't' });
  const told = { env: { A: '1' }, traceparent: 't', timeoutMs: 2_000 };
  assert.deepEqual(heard, ['open', { kind: 'claude', systemPrompt: 'mine' }, told]);
  await assert.rejects(claim(), { code: 'sandbox_failed', message: /waits for nobody/ });
  assert.equal(heard.length, 3);
});

test('one that ended, or never waited, is nobody’s', async () => {
  const { parked, claim, heard } = park();
  parked.forget('other');
  parked.forget('sbx');
  await assert.rejects(claim(), { code: 'sandbox_failed' });
  assert.deepEqual(heard, []);
});

test('what leads to its gateway cannot be said anew', async () => {
  const { claim, heard } = park();
  await claim({ env: { ATOLL_API_URL: 'http://elsewhere', ANTHROPIC_API_KEY: 'x', OWN: 'y' } });
  assert.deepEqual(Object(heard[2]).env, { OWN: 'y' });
});

test('the profile lies under what is asked for, and servers hear the gateway’s address', async () => {
  const { claim, heard } = park();
  const mcpServers = { docs: { type: 'http', url: ['$', '{ATOLL_API_URL}/mcp/docs'].join('') } };
  await claim({ executor: { profile: 'cheap', mcpServers } });
  assert.deepEqual(heard[1], {
    kind: 'claude',
    model: 'small',
    mcpServers: { docs: { type: 'http', url: `${URL}/mcp/docs` } },
  });
});

test('a profile that is not there opens nothing', async () => {
  const { claim, heard } = park();
  await assert.rejects(claim({ executor: { profile: 'gone' } }), { code: 'no_runner' });
  assert.deepEqual(heard, []);
});
