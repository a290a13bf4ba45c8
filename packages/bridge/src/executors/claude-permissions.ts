/** Who may use a tool: the agent's policies by a hook that sees every call, and people for what the CLI asks about. */
import type { CanUseTool, HookCallback, Options, PermissionResult } from '@anthropic-ai/claude-agent-sdk';
import type { ApprovalDecision, ApprovalPolicy } from '@atoll/protocol/approvals';
import { type Approve, policyOf } from '../approvals.ts';
import { isRecord } from '../params.ts';

type Policies = Readonly<Record<string, ApprovalPolicy>>;

/** Its permission is its answer, so no policy can give it. */
const QUESTION = 'AskUserQuestion';

export function permissionOptions(policies: Policies = {}, approve: Approve): Options {
  const hooks = { PreToolUse: [{ hooks: [applyPolicies(policies)] }] };
  return { canUseTool: askPeople(approve), ...(Object.keys(policies).length > 0 && { hooks }) };
}

const decisions = { always_allow: 'allow', always_ask: 'ask', deny: 'deny' } as const;

function applyPolicies(policies: Policies): HookCallback {
  return async (input) => {
    if (input.hook_event_name !== 'PreToolUse') return {};
    const policy = policyOf(policies, input.tool_name);
    if (policy === undefined || (input.tool_name === QUESTION && policy !== 'deny')) return {};
    return {
      hookSpecificOutput: {
        hookEventName: 'PreToolUse',
        permissionDecision: decisions[policy],
        permissionDecisionReason: `The agent's settings say ${policy} for ${input.tool_name}.`,
      },
    };
  };
}

function askPeople(approve: Approve): CanUseTool {
  return async (tool, input, { signal }) => {
    const kind = tool === QUESTION ? 'question' : 'tool';
    const decided = await approve({ kind, tool, input, options: ['allow', 'deny'] }, signal);
    return permission(decided, tool, input);
  };
}

function permission(
  { decision, message, answers }: ApprovalDecision,
  tool: string,
  input: Record<string, unknown>,
): PermissionResult {
  if (decision === 'allow') {
    const given = answers ?? (tool === QUESTION ? sameAnswer(input, message) : undefined);
    return { behavior: 'allow', updatedInput: given === undefined ? input : { ...input, answers: given } };
  }
  if (decision === 'deny')
    return { behavior: 'deny', message: message ?? `Permission to use ${tool} was denied.` };
  return { behavior: 'deny', message: `Nobody decided about ${tool}.`, interrupt: true };
}

/** Whoever answers with a message alone answers every question with it. */
function sameAnswer({ questions }: Record<string, unknown>, message = ''): Record<string, string> {
  const asked = Array.isArray(questions) ? questions.filter(isRecord) : [];
  return Object.fromEntries(asked.map(({ question }) => [String(question), message]));
}
