/**
 * What a session may spend on models, as its gateway counts it. The count is kept by the coordinator, so it goes on in
 * the session's next sandbox; here it is known without asking, but for the first call. A call is let in while there is
 * something left, and answered to its end: the last one may go over, and so may those beside it.
 */
import { AtollError } from '@atoll/protocol/errors';
import type { Coordinator, ModelBudget, ModelUse } from '@atoll/protocol/runner-link';
import type { Logger } from '../logger.ts';

export type Budget = {
  /** Counts one call. Rejects with `model_budget_spent`, or `credentials_unavailable` when the count cannot be had. */
  admit(): Promise<void>;
  spend(tokens: number): void;
};

export function createBudget(options: {
  limits: ModelBudget;
  coordinator: Pick<Coordinator, 'modelUse'>;
  session: { id: string; epoch: number };
  logger: Logger;
}): Budget {
  const { limits, coordinator, session, logger } = options;
  /** What the coordinator has. */
  let kept: Promise<ModelUse> | undefined;
  let known: ModelUse | undefined;
  /** What it does not have yet. */
  let unsaid: ModelUse = { requests: 0, tokens: 0 };
  let saying: ModelUse = { requests: 0, tokens: 0 };
  let refused = false;

  function ask(added: ModelUse, exhausted: string | undefined): Promise<ModelUse> {
    return coordinator.modelUse({
      sessionId: session.id,
      epoch: session.epoch,
      ...added,
      ...(exhausted === undefined ? {} : { exhausted }),
    });
  }

  function count(use: ModelUse): void {
    unsaid = sum(unsaid, use);
    void tell();
  }

  /** One at a time; what cannot be said now is said with the next. */
  async function tell(): Promise<void> {
    if (saying.requests + saying.tokens > 0) return;
    while (unsaid.requests + unsaid.tokens > 0) {
      saying = unsaid;
      unsaid = { requests: 0, tokens: 0 };
      try {
        known = await ask(saying, undefined);
        saying = { requests: 0, tokens: 0 };
      } catch (error) {
        logger.warn(
          { sessionId: session.id, err: error },
          'what a session spent on models could not be kept',
        );
        unsaid = sum(unsaid, saying);
        saying = { requests: 0, tokens: 0 };
        return;
      }
    }
  }

  /** What was spent before this gateway was there. */
  async function first(): Promise<ModelUse> {
    kept ??= ask({ requests: 0, tokens: 0 }, undefined);
    try {
      return await kept;
    } catch (error) {
      kept = undefined;
      throw new AtollError('credentials_unavailable', 'what this session spent on models is not known now', {
        cause: error,
      });
    }
  }

  return {
    async admit() {
      const begun = await first();
      known ??= begun;
      const spent = sum(known, sum(saying, unsaid));
      const exhausted = exhaustedBy(spent, limits);
      if (exhausted === undefined) return count({ requests: 1, tokens: 0 });
      if (!refused) {
        refused = true;
        ask({ requests: 0, tokens: 0 }, exhausted).catch((error) =>
          logger.warn({ sessionId: session.id, err: error }, 'the end of a budget could not be reported'),
        );
      }
      throw new AtollError('model_budget_spent', exhausted);
    },
    spend: (tokens) => count({ requests: 0, tokens }),
  };
}

function exhaustedBy({ requests, tokens }: ModelUse, limits: ModelBudget): string | undefined {
  if (limits.requests !== undefined && requests >= limits.requests)
    return `This session has made the ${limits.requests} model calls that its agent allows (limits.modelRequests).`;
  if (limits.tokens !== undefined && tokens >= limits.tokens)
    return `This session has used ${tokens} of the ${limits.tokens} model tokens that its agent allows (limits.modelTokens).`;
  return undefined;
}

function sum(a: ModelUse, b: ModelUse): ModelUse {
  return { requests: a.requests + b.requests, tokens: a.tokens + b.tokens };
}
