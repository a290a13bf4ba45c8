/** What the end of a Codex turn says: its `turn` object, as `turn/completed` carries it. From outside (I11). */
import type { TurnCause, TurnEnd } from '../executor.ts';
import { isRecord } from '../params.ts';

type Parsed = Record<string, unknown>;

const MAX_DETAIL_CHARS = 2_000;
/** Not the model's doing. */
const OWN_KINDS = ['other', 'sandboxError', 'threadRollbackFailed', 'activeTurnNotSteerable'];

export function endOfTurn({ status, error }: Parsed): TurnEnd {
  if (status === 'completed') return { status, stopReason: 'completed' };
  if (status === 'interrupted')
    return { status, stopReason: 'interrupted', cause: 'interrupted', detail: 'The turn was interrupted.' };
  const { message, codexErrorInfo, additionalDetails } = isRecord(error) ? error : {};
  const kind = kindOf(codexErrorInfo);
  const refusal = refusalOf(message);
  const said = [refusal ?? message, additionalDetails].filter((part) => typeof part === 'string');
  const cause: TurnCause =
    OWN_KINDS.includes(kind) && refusal === undefined ? 'executor_failed' : 'model_error';
  const detail = said.join(': ') || 'Codex failed without saying why.';
  return {
    status: 'failed',
    stopReason: kind,
    cause,
    detail: detail.slice(0, MAX_DETAIL_CHARS).toWellFormed(),
  };
}

/** A name, or an object with one member of that name. */
function kindOf(info: unknown): string {
  if (typeof info === 'string') return info;
  return (isRecord(info) ? Object.keys(info)[0] : undefined) ?? 'other';
}

/** A request that the model's API refuses is told in the API's own words, which are JSON. */
function refusalOf(message: unknown): string | undefined {
  try {
    const { error } = JSON.parse(String(message));
    return isRecord(error) && typeof error.message === 'string' ? error.message : undefined;
  } catch {
    // A sentence of Codex's own.
    return undefined;
  }
}
