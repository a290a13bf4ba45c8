/**
 * What sessions with a budget have spent on models. Their gateways count; here the sums are kept, so that they go on in
 * the next sandbox. A row of its own for each: a turn has nothing to do with it.
 */
import type { ModelUse } from '@atoll/protocol/runner-link';
import type { Access } from '../keys/access.ts';
import type { Store } from '../store/store.ts';
import type { LiveSessions } from './live-sessions.ts';

export type ModelUseReport = { sessionId: string; epoch: number; exhausted?: string } & ModelUse;

/** As `Coordinator.modelUse`. */
export type AddModelUse = (access: Access, report: ModelUseReport) => Promise<ModelUse>;

export function createModelUse({ store, find }: { store: Store } & Pick<LiveSessions, 'find'>): AddModelUse {
  const { sql } = store;

  async function add(sessionId: string, tenant: string, { requests, tokens }: ModelUse): Promise<void> {
    const query = sql
      .insertInto('model_use')
      .values({ session_id: sessionId, tenant, requests, tokens })
      .onConflict((conflict) =>
        conflict.column('session_id').doUpdateSet(({ eb, ref }) => ({
          requests: eb(ref('model_use.requests'), '+', requests),
          tokens: eb(ref('model_use.tokens'), '+', tokens),
        })),
      );
    await store.commit([{ query }]);
  }

  return async (access, { sessionId, epoch, exhausted, requests, tokens }) => {
    const session = await find(access, sessionId);
    if (requests + tokens > 0) await add(sessionId, session.row.tenant, { requests, tokens });
    if (exhausted !== undefined && epoch === session.epoch)
      await session.record([{ event: 'error', data: { code: 'model_budget_spent', detail: exhausted } }]);
    const spent = sql
      .selectFrom('model_use')
      .select(['requests', 'tokens'])
      .where('session_id', '=', sessionId);
    return (await store.first(spent)) ?? { requests: 0, tokens: 0 };
  };
}
