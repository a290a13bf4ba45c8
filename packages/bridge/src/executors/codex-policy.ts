/** What the session's settings say about a tool of Codex before anybody is asked. */
import type { ApprovalPolicy } from '@atoll/protocol/approvals';
import type { ExecutorSettings } from '@atoll/protocol/runner-link';
import { policyOf } from '../approvals.ts';

/** The names under which policies and people know what Codex does, whatever its model calls it. */
export const SHELL = 'shell';
export const PATCH = 'apply_patch';

const MODES = ['default', 'acceptEdits', 'bypassPermissions'];

export function policyFor(settings: ExecutorSettings, tool: string): ApprovalPolicy | undefined {
  const { approvals = {}, allowedTools = [], disallowedTools = [], permissionMode } = settings;
  const policy = policyOf(approvals, tool);
  if (policy !== undefined) return policy;
  if (disallowedTools.includes(tool)) return 'deny';
  const allowed =
    permissionMode === 'bypassPermissions' || (permissionMode === 'acceptEdits' && tool === PATCH);
  return allowed || allowedTools.includes(tool) ? 'always_allow' : undefined;
}

/** What is wrong with the mode, if anything. */
export function modeProblem({ permissionMode = 'default' }: ExecutorSettings): string | undefined {
  if (MODES.includes(permissionMode)) return undefined;
  return `The executor codex has no permission mode ${permissionMode}; it has ${MODES.join(', ')}.`;
}
