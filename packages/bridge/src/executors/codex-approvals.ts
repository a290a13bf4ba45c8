/**
 * What Codex asks before it does it: commands, changes of files, calls of MCP tools, permissions, and questions of its
 * model or an MCP server. The session's policies answer first, then people.
 */
import type { ApprovalDecision, ApprovalRequest } from '@atoll/protocol/approvals';
import type { Handler } from '@atoll/protocol/json-rpc';
import type { ExecutorSettings } from '@atoll/protocol/runner-link';
import type { Approve } from '../approvals.ts';
import { isRecord } from '../params.ts';
import { contentOf } from './acp-elicitation.ts';
import { PATCH, policyFor, SHELL } from './codex-policy.ts';

type Params = Record<string, unknown>;
type Asked = Pick<ApprovalRequest, 'kind' | 'tool' | 'input'>;

export type CodexApprovals = {
  /** Codex's requests by method. Their params carry the request's own id as `requestId`. */
  readonly handlers: Readonly<Record<string, Handler>>;
  /** Codex waits no longer for its request. */
  withdraw(requestId: unknown): void;
  withdrawAll(): void;
};

export type CodexApprovalsOptions = {
  settings: ExecutorSettings;
  approve: Approve;
  /** What an announced item of this id holds. */
  item(itemId: unknown): Params | undefined;
  /** Tells the model why something was denied: an answer to Codex has no room for that. Never rejects. */
  explain(params: Params, text: string): Promise<void>;
  /** Nobody decided, so nobody wants the turn to go on. */
  interrupt(): void;
};

export function createCodexApprovals(options: CodexApprovalsOptions): CodexApprovals {
  const { settings, approve, item, explain, interrupt } = options;
  const waiting = new Map<unknown, AbortController>();

  async function ask(asked: Asked, params: Params): Promise<ApprovalDecision> {
    const withdrawn = new AbortController();
    waiting.set(params.requestId, withdrawn);
    try {
      const decided = await approve({ ...asked, options: ['allow', 'deny'] }, withdrawn.signal);
      if (decided.decision === 'cancelled' && !withdrawn.signal.aborted) interrupt();
      return decided;
    } finally {
      waiting.delete(params.requestId);
    }
  }

  async function decide(asked: Asked, params: Params): Promise<ApprovalDecision> {
    const { kind, tool } = asked;
    const policy = policyFor(settings, tool);
    // A question's permission is its answer, so no policy can give it.
    if (policy === 'always_allow' && kind === 'tool') return { decision: 'allow' };
    const decided: ApprovalDecision =
      policy === 'deny'
        ? { decision: 'deny', message: `The agent's settings say deny for ${tool}.` }
        : await ask(asked, params);
    if (decided.decision === 'deny' && decided.message !== undefined)
      await explain(params, `Permission to use ${tool} was denied: ${decided.message}`);
    return decided;
  }

  const handlers: Record<string, Handler> = {
    async 'item/commandExecution/requestApproval'(params) {
      const input = pick(params, ['command', 'cwd', 'reason', 'commandActions', 'networkApprovalContext']);
      return verdict(await decide({ kind: 'tool', tool: SHELL, input }, params));
    },
    async 'item/fileChange/requestApproval'(params) {
      const { changes } = item(params.itemId) ?? {};
      const input = { ...pick(params, ['reason', 'grantRoot']), changes };
      return verdict(await decide({ kind: 'tool', tool: PATCH, input }, params));
    },
    async 'item/permissions/requestApproval'(params) {
      const input = pick(params, ['permissions', 'reason', 'cwd']);
      const { decision } = await decide({ kind: 'tool', tool: 'request_permissions', input }, params);
      const wanted = isRecord(params.permissions) ? params.permissions : {};
      const permissions = decision === 'allow' ? pick(wanted, Object.keys(wanted)) : {};
      return { permissions, scope: 'turn' };
    },
    async 'item/tool/requestUserInput'(params) {
      const input = pick(params, ['questions']);
      const decided = await decide({ kind: 'question', tool: 'request_user_input', input }, params);
      return { answers: decided.decision === 'allow' ? answersTo(params.questions, decided) : {} };
    },
    async 'mcpServer/elicitation/request'(params) {
      const asked = mcpRequest(params);
      const decided = await decide(asked, params);
      const content = asked.kind === 'question' ? contentOf(params.requestedSchema, decided) : {};
      const allowed = decided.decision === 'allow';
      return { action: VERDICTS[decided.decision], content: allowed ? content : null, _meta: null };
    },
  };

  return {
    handlers,
    withdraw: (requestId) => waiting.get(requestId)?.abort(),
    withdrawAll() {
      for (const withdrawn of waiting.values()) withdrawn.abort();
    },
  };
}

const VERDICTS = { allow: 'accept', deny: 'decline', cancelled: 'cancel' } as const;

function verdict({ decision }: ApprovalDecision): { decision: string } {
  return { decision: VERDICTS[decision] };
}

/** Either Codex wants to call a tool of the server, or the server wants to know something. */
function mcpRequest({ serverName, _meta, ...params }: Params): Asked {
  const about = isRecord(_meta) ? _meta : {};
  if (about.codex_approval_kind !== 'mcp_tool_call') {
    const input = pick(params, ['message', 'requestedSchema', 'url']);
    return { kind: 'question', tool: `mcp__${serverName}`, input };
  }
  const input = isRecord(about.tool_params) ? about.tool_params : {};
  return { kind: 'tool', tool: `mcp__${serverName}__${about.tool_name}`, input };
}

/** Answers go by question; whoever answers with a message alone answers every question with it. */
function answersTo(questions: unknown, { answers = {}, message = '' }: ApprovalDecision): Params {
  const asked = Array.isArray(questions) ? questions.filter(isRecord) : [];
  return Object.fromEntries(
    asked.map(({ id, question }) => {
      const given = answers[String(question)] ?? answers[String(id)] ?? message;
      return [String(id), { answers: [given] }];
    }),
  );
}

/** Without what is null: the same request must look the same when it is asked again. */
function pick(params: Params, names: readonly string[]): Params {
  return Object.fromEntries(
    names.flatMap((name) =>
      params[name] === null || params[name] === undefined ? [] : [[name, params[name]]],
    ),
  );
}
