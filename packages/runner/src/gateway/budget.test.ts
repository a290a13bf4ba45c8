import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { ModelBudget, ModelUse } from '@atoll/protocol/runner-link';
import { createBudget } from './budget.ts';
import { silent } from './upstream.fixture.ts';

type Asked = ModelUse & { exhausted?: string };

/** A coordinator that adds up, and fails while it is told to. */
function ledger(spent: ModelUse = { requests: 0, tokens: 0 }) {
  const asked: Asked[] = [];
  const kept = {
    asked,
    spent,
    failing: false,
    async modelUse({ sessionId: _, epoch: __, ...use }: Asked & { sessionId: string; epoch: number }) {
      asked.push(use);
      await setImmediate();
      if (kept.failing) throw new Error('not now');
      kept.spent = { requests: kept.spent.requests + use.requests, tokens: kept.spent.tokens + use.tokens };
      return kept.spent;
    },
  };
  return kept;
}

const open = (coordinator: ReturnType<typeof ledger>, limits: ModelBudget) =>
  createBudget({ limits, coordinator, session: { id: 's', epoch: 1 }, logger: silent });

async function settle(): Promise<void> {
  for (let round = 0; round < 10; round++) await setImmediate();
}

test('calls are let in up to the limit, all at once too, and it is said once that there are no more', async () => {
  const kept = ledger({ requests: 1, tokens: 0 });
  const budget = open(kept, { requests: 3 });
  const all = await Promise.allSettled([1, 2, 3, 4, 5].map(() => budget.admit()));
  assert.deepEqual(
    all.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'rejected', 'rejected'],
  );
  await assert.rejects(budget.admit(), {
    code: 'model_budget_spent',
    status: 429,
    message: /the 3 model calls/,
  });
  await settle();
  assert.deepEqual(kept.spent, { requests: 3, tokens: 0 });
  assert.equal(kept.asked.filter(({ exhausted }) => exhausted !== undefined).length, 1);
});

test('tokens go on where an earlier sandbox left off; the call that goes over is the last', async () => {
  const kept = ledger();
  const first = open(kept, { tokens: 100 });
  await first.admit();
  first.spend(60);
  await settle();
  const second = open(kept, { tokens: 100 });
  await second.admit();
  second.spend(60);
  await assert.rejects(second.admit(), {
    code: 'model_budget_spent',
    message: /120 of the 100 model tokens/,
  });
  await settle();
  await assert.rejects(open(kept, { tokens: 100 }).admit(), { code: 'model_budget_spent' });
});

test('what cannot be told counts here all the same, and is told later; without a count nobody is let in', async () => {
  const kept = ledger();
  kept.failing = true;
  const budget = open(kept, { tokens: 100 });
  await assert.rejects(budget.admit(), { code: 'credentials_unavailable' });
  kept.failing = false;
  await budget.admit();
  await settle();
  kept.failing = true;
  budget.spend(100);
  await settle();
  await assert.rejects(budget.admit(), { code: 'model_budget_spent' });
  kept.failing = false;
  budget.spend(5);
  await settle();
  assert.deepEqual(kept.spent, { requests: 1, tokens: 105 });
});
