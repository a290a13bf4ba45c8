/** What a bridge asks of people (protocols §1), and how much of it: runner and bridge hold each other to the same bounds. */

/** What may wait for a decision in one sandbox. */
export const MAX_OPEN_APPROVALS = 32;
/** Of one request, as JSON in UTF-8. */
export const MAX_APPROVAL_BYTES = 256 * 1024;

/** How deep its input may be nested, so that whoever walks it has the stack for it. */
const MAX_APPROVAL_DEPTH = 64;

export function isTooDeep(value: unknown, depth = 0): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return depth === MAX_APPROVAL_DEPTH || Object.values(value).some((held) => isTooDeep(held, depth + 1));
}

/** What an agent's settings say about a tool before anybody is asked. */
export const approvalPolicies = ['always_allow', 'always_ask', 'deny'] as const;
export type ApprovalPolicy = (typeof approvalPolicies)[number];

export const approvalKinds = ['tool', 'question'] as const;
export const approvalOptions = ['allow', 'deny'] as const;

export type ApprovalRequest = {
  /** `question`: the agent wants answers, and no permission. */
  kind: (typeof approvalKinds)[number];
  tool: string;
  input: Record<string, unknown>;
  /** What can be decided. */
  options: (typeof approvalOptions)[number][];
};

export type ApprovalDecision = {
  /** `cancelled`: nobody decided, and nobody will. */
  decision: (typeof approvalOptions)[number] | 'cancelled';
  /** For the model, when it is denied. */
  message?: string;
  /** By question. */
  answers?: Record<string, string>;
};
