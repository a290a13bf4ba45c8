import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import { goneLink } from '../runners/gone-link.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import type { ApprovalRow } from '../store/tables.ts';
import { createApprovals, hashOf } from './approvals.ts';
import { initialState } from './fold.ts';
import type { LiveSession, LiveTurn } from './live-session.ts';

test('a call is the same whatever the order of its members, at any depth, and no other is', () => {
  const call = { tool: 'Bash', input: { a: [1, { b: 2, c: null }], d: 'x' } };
  const same = { tool: 'Bash', input: { d: 'x', a: [1, { c: null, b: 2 }] } };
  assert.equal(hashOf(call), hashOf(same));
  const others = [
    { ...call, tool: 'bash' },
    { ...call, input: { ...call.input, d: 'y' } },
    { ...call, input: { ...call.input, e: null } },
    { ...call, input: { ...call.input, a: [{ b: 2, c: null }, 1] } },
  ];
  for (const other of others) assert.notEqual(hashOf(call), hashOf(other));
});

test('members that look like a place in a list, or like a prototype, count too', () => {
  const input = (json: string) => ({ tool: 'x', input: JSON.parse(json) });
  assert.equal(hashOf(input('{"2":1,"1":2}')), hashOf(input('{"1":2,"2":1}')));
  assert.notEqual(hashOf(input('{"__proto__":1}')), hashOf(input('{}')));
  assert.notEqual(hashOf(input('{"__proto__":{"a":1}}')), hashOf(input('{"__proto__":{"a":2}}')));
});

test('nobody hears that an interrupt cancelled it before the runner that is awaited can hear of the interrupt', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'atoll-approvals-'));
  const store = createSqliteStore(await openSqlite({ path: join(root, 'atoll.db') }), await loadKysely());
  t.after(async () => {
    await store.close();
    rmSync(root, { recursive: true, force: true });
  });
  const approvalId = newId('approval');
  const row: ApprovalRow = {
    ...{ id: approvalId, tenant: 't', session_id: 'ses_1', turn_id: 'turn_1', epoch: 1, request_id: '1' },
    ...{ status: 'requested', kind: 'tool', tool: 'x', input: '{}', options: '[]', call_hash: '', spent: 0 },
    ...{ decision: null, cause: null, created_at: '', resolved_at: null },
  };
  await store.commit([{ query: store.sql.insertInto('approvals').values(row) }]);
  const awaited = Promise.withResolvers<void>();
  const session: Partial<LiveSession> = {
    id: 'ses_1',
    state: {
      ...initialState,
      turn: 'turn_1',
      approvals: [
        { approvalId, status: 'requested', kind: 'tool', tool: 'x', input: {}, options: ['allow'] },
      ],
    },
    turns: new Map([['turn_1', { id: 'turn_1', interrupted: true } as LiveTurn]]),
    asked: new Map([[approvalId, { sandboxId: 'sbx_1', epoch: 1, requestId: '1' }]]),
    awaited,
  };
  let looked: Promise<unknown> | undefined;
  const watched = {
    ...store,
    first(query: Parameters<typeof store.first>[0]) {
      const row = store.first(query);
      looked = row;
      return row;
    },
  } as typeof store;
  const approvals = createApprovals({ store: watched, now: Date.now, linkOf: () => goneLink('one') });
  const told: string[] = [];
  const deciding = approvals
    .decide(session as LiveSession, { sessionId: 'ses_1', approvalId, decision: 'allow' })
    .catch(({ code }: AtollError) => told.push(code));
  await looked;
  await setImmediate();
  assert.deepEqual(told, []);
  awaited.resolve();
  await deciding;
  assert.deepEqual(told, ['already_decided']);
});
