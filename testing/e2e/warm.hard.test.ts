/** Two tenants whose sessions come from warm pools, each with a marked key, system prompt and variable: who sees which. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Client, createClient } from '@atoll/client';
import { deployProgram, startAtoll, until } from '../atoll.ts';
import { startMessagesApi } from '../stand-ins/messages-api.ts';

const CLAIMS = 200;
const POOL = 10;

/** Says all that it can find: what was given to it, what lies in its files, and what processes beside it were given. */
const curious = `
import { createInterface } from 'node:readline';
import { execSync } from 'node:child_process';
const sh = (command) => execSync(command, { encoding: 'utf8', maxBuffer: 1e8 });
for await (const line of createInterface({ input: process.stdin })) {
  const seen = sh('cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr "\\\\0" "\\\\n"; find /workspace /home/agent /tmp /run -type f -exec cat {} + 2>/dev/null; true');
  const body = JSON.stringify({ model: 'claude-sonnet-5', max_tokens: 9, messages: [{ role: 'user', content: 'hello' }] });
  const answer = await fetch(process.env.ANTHROPIC_BASE_URL + '/v1/messages', { method: 'POST', body, headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' } });
  const bound = await (await fetch(process.env.ATOLL_API_URL + '/sessions/' + process.env.ATOLL_SESSION_ID)).text();
  process.stdout.write(JSON.stringify({ type: 'seen', seen, bound, model: answer.status, line }) + '\\n{"type":"result"}\\n');
}
`;

test('of 200 claims of two tenants, none sees what is another’s', { timeout: 600_000 }, async () => {
  const capacity = String(2 * POOL + 4);
  await using atoll = await startAtoll({ args: ['--capacity', capacity, '--driver', 'bubblewrap'] });
  await using apis = new AsyncDisposableStack();
  const tenants = await Promise.all(['red', 'blue'].map((tenant) => openTenant(tenant)));

  async function openTenant(tenant: string) {
    const { secret } = await atoll.client.call('key.create', { role: 'client', tenant });
    const client = createClient({ url: atoll.url, key: secret });
    const key = `sk-ant-api03-KEY-OF-${tenant}-0123456789`;
    const api = await startMessagesApi({ apiKey: key });
    apis.defer(() => api.close());
    await client.call('credential.set', { name: 'model', kind: 'anthropic', url: api.url, value: key });
    await deployProgram(client, 'same', `// FOLDER-OF-${tenant}\n${curious}`, { prewarm: POOL });
    return { tenant, client, key, api, calls: 0 };
  }

  async function claim(client: Client, tenant: string, round: number): Promise<string> {
    const own = { systemPrompt: `PROMPT-OF-${tenant}-${round}`, env: { MARK: `MARK-OF-${tenant}-${round}` } };
    const { session } = await client.call('session.create', { agent: 'same', ...own });
    const events = await Array.fromAsync(client.send(session.id, { content: `WORDS-OF-${tenant}-${round}` }));
    await client.call('session.end', { sessionId: session.id, purge: true });
    return events.map(({ text }) => text).join('\n');
  }

  const others = (round: number, tenant: string) =>
    new RegExp(`(?:MARK|PROMPT|WORDS)-OF-(?!${tenant}-${round}\\b)|FOLDER-OF-(?!${tenant}\\b)|KEY-OF-`);
  let claims = 0;
  for (let round = 0; claims < CLAIMS; ) {
    await until(async () => (await atoll.client.call('health.show', {})).pool.warm === 2 * POOL, 60_000);
    const wave = Array.from({ length: POOL }, () => round++);
    for (const at of wave)
      await Promise.all(
        tenants.map(async (one) => {
          const { tenant, client } = one;
          const said = await claim(client, tenant, at);
          assert.match(said, new RegExp(`MARK-OF-${tenant}-${at}\\b`), 'its own it has');
          assert.match(said, new RegExp(`FOLDER-OF-${tenant}`));
          assert.match(said, /"model":200/, 'the key is that of its tenant');
          assert.doesNotMatch(said, others(at, tenant));
          one.calls++;
          claims++;
        }),
      );
  }
  for (const { api, key, calls } of tenants) {
    assert.equal(api.requests.length, calls);
    assert.ok(api.requests.every(({ headers }) => headers['x-api-key'] === key));
  }
});
