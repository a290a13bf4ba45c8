/**
 * What an ACP agent asks of people: permission for a tool call (`session/request_permission`) and answers to a question
 * (`elicitation/create`). The agent's policies come first. An agent decides by itself what it asks about, and gets one
 * of the options that it offered: ACP has no place for a reason.
 */
import { type ApprovalDecision, type ApprovalPolicy, MAX_OPEN_APPROVALS } from '@atoll/protocol/approvals';
import type { Handler } from '@atoll/protocol/json-rpc';
import { type Approve, policyOf } from '../approvals.ts';
import { isRecord } from '../params.ts';
import { contentOf } from './acp-elicitation.ts';
import { member } from './acp-prompt.ts';

type Params = Record<string, unknown>;

/** Requests beyond those that can wait are denied at once; an agent that goes on like that is ended. */
const MAX_DENIED_AT_ONCE = 256;
/** Tool calls whose names are remembered. */
const MAX_TOOL_CALLS = 256;
const MAX_NAME_CHARS = 256;

export type AcpPermissionsOptions = {
  policies: Readonly<Record<string, ApprovalPolicy>> | undefined;
  approve: Approve;
  /** Of the running turn: aborts when it is over or to be. */
  signal: () => AbortSignal;
  /** It asked for more than anybody could decide. */
  onStorm: () => void;
};

export type AcpPermissions = {
  readonly handlers: Readonly<Record<string, Handler>>;
  /** A `session/update` may name the call that is asked about later. */
  note(update: unknown): void;
};

type ToolCall = { name: string; kind: string };

export function createAcpPermissions(options: AcpPermissionsOptions): AcpPermissions {
  const { policies = {}, approve, signal, onStorm } = options;
  const calls = new Map<string, ToolCall>();
  let open = 0;
  let denied = 0;

  async function asked<T>(ask: () => Promise<T>, deny: T): Promise<T> {
    if (open >= MAX_OPEN_APPROVALS) {
      if (++denied > MAX_DENIED_AT_ONCE) onStorm();
      return deny;
    }
    open++;
    try {
      return await ask();
    } finally {
      if (--open === 0) denied = 0;
    }
  }

  function note(update: unknown): void {
    const id = member(update, 'toolCallId');
    if (typeof id !== 'string') return;
    const { name, kind } = toolCall(update, calls.get(id));
    calls.delete(id);
    calls.set(id, { name, kind });
    const [oldest] = calls.keys();
    if (calls.size > MAX_TOOL_CALLS && oldest !== undefined) calls.delete(oldest);
  }

  function policyFor({ name, kind }: ToolCall): ApprovalPolicy | undefined {
    return policyOf(policies, name, kind);
  }

  async function permission(params: Params): Promise<unknown> {
    const call = toolCall(params.toolCall, calls.get(String(member(params.toolCall, 'toolCallId'))));
    const offered = Array.isArray(params.options) ? params.options.filter(isRecord) : [];
    const choose = (decision: ApprovalDecision['decision']) => ({ outcome: outcomeOf(offered, decision) });
    const policy = policyFor(call);
    if (policy === 'always_allow') return choose('allow');
    if (policy === 'deny') return choose('deny');
    const request = {
      kind: 'tool',
      tool: call.name,
      input: inputOf(params.toolCall),
      options: ['allow', 'deny'],
    } as const;
    return asked(
      async () => choose((await approve({ ...request, options: [...request.options] }, signal())).decision),
      choose('deny'),
    );
  }

  async function question(params: Params): Promise<unknown> {
    const { message, requestedSchema, mode, toolCallId } = params;
    const call = { name: 'elicitation', kind: 'elicitation', ...calls.get(String(toolCallId)) };
    if (mode !== 'form' || policyFor(call) === 'deny') return { action: 'decline' };
    const input = { message, requestedSchema };
    return asked<unknown>(
      async () => {
        const decided = await approve(
          { kind: 'question', tool: call.name, input, options: ['allow', 'deny'] },
          signal(),
        );
        if (decided.decision === 'allow')
          return { action: 'accept', content: contentOf(requestedSchema, decided) };
        return { action: decided.decision === 'deny' ? 'decline' : 'cancel' };
      },
      { action: 'decline' },
    );
  }

  return { handlers: { 'session/request_permission': permission, 'elicitation/create': question }, note };
}

/** Not every agent names its tools; of those that do not, the first title of a call is the best that there is. */
function toolCall(said: unknown, known: ToolCall | undefined): ToolCall {
  const text = (name: string) => {
    const value = member(said, name);
    return typeof value === 'string' && value !== '' ? value.slice(0, MAX_NAME_CHARS) : undefined;
  };
  const kind = text('kind') ?? known?.kind ?? 'other';
  return { name: text('name') ?? known?.name ?? text('title') ?? kind, kind };
}

/** What the call is given, alone: the same call made again, under another id, is then the same approval. */
function inputOf(call: unknown): Params {
  const raw = member(call, 'rawInput');
  if (isRecord(raw) && Object.keys(raw).length > 0) return raw;
  const shown = ['title', 'content', 'locations'].map((name) => [name, member(call, name)]);
  return Object.fromEntries(shown.filter(([, value]) => value !== undefined));
}

const kinds = {
  allow: ['allow_once', 'allow_always'],
  deny: ['reject_once', 'reject_always'],
  cancelled: [],
};

/** Once rather than always, so that the next call is looked at again. */
function outcomeOf(offered: readonly Params[], decision: ApprovalDecision['decision']): Params {
  for (const kind of kinds[decision]) {
    const option = offered.find((one) => one.kind === kind);
    if (option) return { outcome: 'selected', optionId: option.optionId };
  }
  return { outcome: 'cancelled' };
}
