/** `state_at` (protocols §5): what `session.state` and `state.show` answer, under the one name that desktop hosts know. */
import { time } from '@atoll/protocol/schemas/common';
import { workerMethods } from '@atoll/protocol/worker-methods';
import * as v from 'valibot';
import type { Context, Handlers } from '../routes/handler.ts';
import { type Method, readParams } from './params.ts';

/** Only a session has seqs. */
const ofSystem = v.strictObject({ asOf: v.optional(time) });
/** Of the whole system all of it, and no page. */
const MOST = 1000;

export function createStateAt(handlers: Pick<Handlers, 'session.state' | 'state.show'>): Method {
  return async (params, context) => {
    if (params.sessionId === undefined && params.scenario === undefined)
      return whole(handlers, readParams(ofSystem, params).asOf, context);
    const {
      asOf: at,
      sessionId = '',
      scenario = sessionId,
    } = readParams(workerMethods.state_at.params, params);
    return handlers['session.state']({ sessionId: scenario, ...(at === undefined ? {} : { at }) }, context);
  };
}

async function whole(
  handlers: Pick<Handlers, 'state.show'>,
  asOf: string | undefined,
  context: Context,
): Promise<unknown> {
  const at = asOf === undefined ? {} : { at: asOf };
  const { nextCursor, ...state } = await handlers['state.show']({ ...at, limit: MOST }, context);
  const sessions = [...state.sessions];
  for (let cursor = nextCursor; cursor !== null; ) {
    const page = await handlers['state.show']({ at: String(state.asOf), limit: MOST, cursor }, context);
    sessions.push(...page.sessions);
    cursor = page.nextCursor;
  }
  return { ...state, sessions };
}
