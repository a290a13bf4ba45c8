/**
 * What one sandbox's bridge waits for people to decide. The bridge is untrusted (I11): it may ask for the running turn
 * alone, a bounded amount of bounded size, and has an answer at the latest when the turn is over.
 */
import { type ApprovalDecision, MAX_APPROVAL_BYTES, MAX_OPEN_APPROVALS } from '@atoll/protocol/approvals';
import { parse } from '@atoll/protocol/parse';
import type { CommandOutput } from '@atoll/protocol/runner-link';
import { ProtocolViolation } from './bridge-lines.ts';
import { approvalRequest } from './bridge-replies.ts';

export type ApprovalEvent = Extract<CommandOutput, { kind: 'approval' }>;

export type Approvals = {
  /** Resolves when it is decided; rejects when the bridge may not ask that. */
  request(params: Record<string, unknown>): Promise<ApprovalDecision>;
  decide(requestId: string, decision: ApprovalDecision): void;
  /** Nobody will decide any more. */
  cancel(): void;
};

/** `turnOf` is the turn that runs, and where its events go. */
export function createApprovals(
  turnOf: () => { turnId: string; stream: { push(event: ApprovalEvent): void } } | undefined,
): Approvals {
  const open = new Map<string, (decision: ApprovalDecision) => void>();
  let asked = 0;

  return {
    async request(params) {
      const { turnId, ...request } = parse(approvalRequest, params);
      const turn = turnOf();
      if (turn?.turnId !== turnId)
        throw new ProtocolViolation('the bridge asked for an approval outside of a turn');
      if (open.size >= MAX_OPEN_APPROVALS)
        throw new ProtocolViolation(
          `the bridge asked for more than ${MAX_OPEN_APPROVALS} approvals at a time`,
        );
      if (Buffer.byteLength(JSON.stringify(request)) > MAX_APPROVAL_BYTES)
        throw new ProtocolViolation(
          `the bridge asked for an approval of more than ${MAX_APPROVAL_BYTES} bytes`,
        );
      const { promise, resolve } = Promise.withResolvers<ApprovalDecision>();
      const requestId = String(++asked);
      open.set(requestId, resolve);
      turn.stream.push({ kind: 'approval', requestId, request });
      return promise;
    },
    decide(requestId, decision) {
      const resolve = open.get(requestId);
      open.delete(requestId);
      resolve?.(decision);
    },
    cancel() {
      for (const resolve of open.values()) resolve({ decision: 'cancelled' });
      open.clear();
    },
  };
}
