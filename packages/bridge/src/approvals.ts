/**
 * Asking people, for every executor: a request to the runner that is answered when somebody decided. What the runner
 * would end the sandbox for is denied here, with the reason, so that the agent can do something else.
 *
 * All of this advises: it runs as the agent's own user, who can take this process's place.
 */
import {
  type ApprovalDecision,
  type ApprovalPolicy,
  type ApprovalRequest,
  isTooDeep,
  MAX_APPROVAL_BYTES,
  MAX_OPEN_APPROVALS,
} from '@atoll/protocol/approvals';

/** Resolves `cancelled` when the signal aborts. Never rejects. */
export type Approve = (request: ApprovalRequest, signal: AbortSignal) => Promise<ApprovalDecision>;

const CANCELLED: ApprovalDecision = { decision: 'cancelled' };
const deny = (message: string): ApprovalDecision => ({ decision: 'deny', message });

export function createApprove({
  ask,
  turnId,
}: {
  ask: (params: Record<string, unknown>) => Promise<unknown>;
  /** Of the running turn. */
  turnId: () => string | undefined;
}): Approve {
  let open = 0;

  return async (request, signal) => {
    const turn = turnId();
    if (turn === undefined) return deny('Nobody can be asked between turns.');
    if (open >= MAX_OPEN_APPROVALS) return deny('Too much waits for a decision already.');
    if (isTooDeep(request.input) || Buffer.byteLength(JSON.stringify(request)) > MAX_APPROVAL_BYTES)
      return deny('Its input is too large to be shown to anybody; use smaller steps.');
    open++;
    const decided = ask({ turnId: turn, ...request }).then(
      (decision) => decision as ApprovalDecision,
      // The connection is gone, and this process with it.
      () => CANCELLED,
    );
    // Withdrawn or not, it counts at the runner until it is answered there.
    void decided.then(() => open--);
    return Promise.race([decided, aborted(signal)]);
  };
}

function aborted(signal: AbortSignal): Promise<ApprovalDecision> {
  if (signal.aborted) return Promise.resolve(CANCELLED);
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(CANCELLED), { once: true });
  });
}

/** What the longest pattern says that fits the tool, by any of its names. */
export function policyOf(
  approvals: Readonly<Record<string, ApprovalPolicy>>,
  ...names: readonly string[]
): ApprovalPolicy | undefined {
  let longest = '';
  for (const pattern of Object.keys(approvals))
    if (pattern.length > longest.length && names.some((name) => fits(pattern, name))) longest = pattern;
  return approvals[longest];
}

function fits(pattern: string, tool: string): boolean {
  const pieces = pattern.split('*').map((piece) => piece.replace(/[.\\^$+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${pieces.join('.*')}$`, 's').test(tool);
}
