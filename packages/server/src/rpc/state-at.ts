/** `state_at` (protocols §5): what `session.state` and `state.show` answer, under the one name that desktop hosts know. */
import { id, time } from '@atoll/protocol/schemas/common';
import { moment } from '@atoll/protocol/schemas/state';
import * as v from 'valibot';
import type { Context, Handlers } from '../routes/handlers.ts';
import { type Method, readParams } from './params.ts';

const ofSystem = v.strictObject({ asOf: v.optional(time) });
const ofSession = v.strictObject({
  asOf: v.optional(moment),
  sessionId: v.optional(id('session')),
  /** A fork, to be looked at in place of the session. */
  scenario: v.optional(id('session')),
});

/** Of the whole system all of it, and no page. */
const MOST = 1000;

export function createStateAt(handlers: Pick<Handlers, 'session.state' | 'state.show'>): Method {
  return async (params, context) => {
    if (params.sessionId === undefined && params.scenario === undefined)
      return whole(handlers, readParams(ofSystem, params).asOf, context);
    const { asOf: at, sessionId = '', scenario = sessionId } = readParams(ofSession, params);
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
