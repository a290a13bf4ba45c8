import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '@atoll/protocol/ids';
import { createSessionTokens } from './session-tokens.ts';

const session = { tenant: 'a', sessionId: newId('session'), epoch: 3 };

function setUp() {
  const clock = { nowMs: 1_000_000 };
  return { clock, tokens: createSessionTokens({ now: () => clock.nowMs }) };
}

test('a token is its session’s, in its tenant and assignment', () => {
  const { tokens } = setUp();
  const { token } = tokens.create(session);
  assert.ok(tokens.isToken(token));
  const { tenant, role, crossesTenants, session: own } = tokens.recognise(token);
  assert.deepEqual(
    [tenant, role, crossesTenants, own],
    ['a', 'client', false, { id: session.sessionId, epoch: 3 }],
  );
});

test('it ends', () => {
  const { tokens, clock } = setUp();
  const { token, expiresAt } = tokens.create(session);
  clock.nowMs = Date.parse(expiresAt) - 1;
  tokens.recognise(token);
  clock.nowMs++;
  assert.throws(() => tokens.recognise(token), { code: 'unauthorized' });
});

test('nobody else makes one, or changes one', () => {
  const { tokens } = setUp();
  const { token } = tokens.create(session);
  const [body = '', signature = ''] = token.split('.');
  const other = tokens.create({ ...session, epoch: 4 }).token.split('.')[0];
  const forged = [
    `${other}.${signature}`,
    `${body}.${signature.slice(0, -2)}`,
    `${body}.`,
    body,
    'atoll_session_',
    `${body}.${'A'.repeat(43)}`,
    setUp().tokens.create(session).token,
  ];
  for (const each of forged) assert.throws(() => tokens.recognise(each), { code: 'unauthorized' }, each);
});
