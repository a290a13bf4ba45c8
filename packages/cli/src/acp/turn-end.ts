/** How a turn ended, in ACP's words. What ACP has no words for is an error that says what happened. */
import { RequestError, type StopReason } from '@agentclientprotocol/sdk';
import { AtollError } from '@atoll/protocol/errors';
import type { EventData } from '@atoll/protocol/events';
import { rpcCodes } from '@atoll/protocol/json-rpc';

/** By the cause of a turn that failed. */
const byCause: Readonly<Record<string, StopReason>> = {
  refusal: 'refusal',
  max_tokens: 'max_tokens',
  max_turns: 'max_turn_requests',
  interrupted: 'cancelled',
};
/** By why the model stopped, of one that completed. */
const byModel: Readonly<Record<string, StopReason>> = { refusal: 'refusal', max_tokens: 'max_tokens' };

/** Throws RequestError for a turn that failed, or that something else than somebody's wish interrupted. */
export function stopReasonOf(done: EventData<'done'>, modelStopped: string | undefined): StopReason {
  const { status, cause = '', detail = `the turn ${status}` } = done;
  if (status === 'completed') return byModel[modelStopped ?? ''] ?? 'end_turn';
  const known = byCause[cause];
  if (known !== undefined) return known;
  throw new RequestError(rpcCodes.internal, `${detail}${cause === '' ? '' : ` (${cause})`}`, {
    code: cause,
    detail,
  });
}

/** What a request to an agent is answered with when it cannot be done. */
export function requestError(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  if (!(error instanceof AtollError)) {
    const message = error instanceof Error ? error.message : String(error);
    return new RequestError(rpcCodes.internal, message);
  }
  const { code, detail } = error;
  const data = { code, detail };
  if (code === 'not_found') return new RequestError(NOT_FOUND, detail, data);
  if (error.status === 400) return new RequestError(rpcCodes.invalidParams, detail, data);
  if (code === 'unauthorized') return new RequestError(AUTH_REQUIRED, detail, data);
  return new RequestError(rpcCodes.internal, detail, data);
}

/** ACP's own codes. */
const NOT_FOUND = -32002;
const AUTH_REQUIRED = -32000;
