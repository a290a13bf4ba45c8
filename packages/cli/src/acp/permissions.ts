/**
 * Approvals of a session, put to the editor while they wait. The first answer counts, whoever gives it: when somebody else
 * decides, the editor's question is taken back.
 */
import type { AgentContext, PermissionOption, RequestPermissionRequest } from '@agentclientprotocol/sdk';
import { AtollError } from '@atoll/protocol/errors';
import type { EventData } from '@atoll/protocol/events';
import type { Platform } from '../platform.ts';
import { describeTool } from './claude-tools.ts';
import type { ModeId } from './modes.ts';
import { answersOf, choiceOf, formOf } from './questions.ts';
import type { ToolCalls } from './tool-calls.ts';

type Approval = EventData<'approval'>;
type Decision = { decision: 'allow' | 'deny'; message?: string; answers?: Record<string, string> };

export type Permissions = {
  /** Asks the editor, or takes the question back; never waits, never rejects. */
  tell(approval: Approval): void;
  /** Takes all of them back. */
  close(): void;
};

const options: PermissionOption[] = [
  { optionId: 'allow', name: 'Allow', kind: 'allow_once' },
  { optionId: 'deny', name: 'Deny', kind: 'reject_once' },
];

export function createPermissions(given: {
  platform: Platform;
  client: AgentContext;
  sessionId: string;
  calls: ToolCalls;
  /** Whether the editor has forms. */
  forms: boolean;
  /** What the editor chose for this session. */
  mode: () => ModeId;
  /** The editor ended the turn in place of an answer. */
  onCancelled: () => void;
}): Permissions {
  const { platform, client, sessionId, calls, forms, mode, onCancelled } = given;
  const asking = new Map<string, AbortController>();

  async function request(approval: Approval, signal: AbortSignal, more: Partial<RequestPermissionRequest>) {
    const { approvalId, tool, input } = approval;
    const known = calls.find(tool, input) ?? { ...describeTool(tool, input), toolCallId: approvalId };
    const toolCall = { ...known, status: 'pending' as const };
    const answer = await client.request(
      'session/request_permission',
      { sessionId, options, toolCall, ...more },
      { cancellationSignal: signal, stopWaitingOnCancel: true },
    );
    return answer.outcome.outcome === 'selected' ? answer.outcome.optionId : undefined;
  }

  async function ask(approval: Approval, signal: AbortSignal): Promise<Decision | undefined> {
    if (approval.kind === 'question') return question(approval, signal);
    if (mode() === 'allow') return { decision: 'allow' };
    if (mode() === 'deny') return { decision: 'deny', message: 'The session is in the mode Deny.' };
    const chosen = await request(approval, signal, {});
    return chosen === undefined ? undefined : { decision: chosen === 'allow' ? 'allow' : 'deny' };
  }

  async function question(approval: Approval, signal: AbortSignal): Promise<Decision | undefined> {
    const form = formOf(approval.input);
    if (forms && form !== undefined) {
      const answer = await client.request(
        'elicitation/create',
        { sessionId, mode: 'form', ...form },
        { cancellationSignal: signal, stopWaitingOnCancel: true },
      );
      if (answer.action === 'accept')
        return { decision: 'allow', answers: answersOf('content' in answer ? answer.content : {}) };
      return answer.action === 'decline' ? { decision: 'deny' } : undefined;
    }
    const choice = choiceOf(approval.input);
    if (choice === undefined)
      return {
        decision: 'deny',
        message: 'The editor cannot ask this. Ask in your answer, and end your turn.',
      };
    const answers = choice.answers.map(
      (name, at): PermissionOption => ({ optionId: `answer-${at}`, name, kind: 'allow_once' }),
    );
    const none: PermissionOption = { optionId: 'deny', name: 'No answer', kind: 'reject_once' };
    const chosen = await request(approval, signal, { options: [...answers, none] });
    if (chosen === undefined) return undefined;
    const answer = answers.find(({ optionId }) => optionId === chosen)?.name;
    return answer === undefined
      ? { decision: 'deny' }
      : { decision: 'allow', answers: { [choice.question]: answer } };
  }

  async function settle(approval: Approval, signal: AbortSignal): Promise<void> {
    const { approvalId } = approval;
    const decided = await ask(approval, signal).catch((error: unknown): Decision => {
      const why = error instanceof Error ? error.message : String(error);
      return { decision: 'deny', message: `The editor could not be asked: ${why}` };
    });
    if (signal.aborted) return;
    if (decided === undefined) return onCancelled();
    await platform.call('approval.decide', { sessionId, approvalId, ...decided }).catch((error: unknown) => {
      // Somebody else was first, or the turn is over.
      if (!(error instanceof AtollError)) throw error;
    });
  }

  return {
    tell(approval) {
      const { approvalId, status } = approval;
      asking.get(approvalId)?.abort();
      asking.delete(approvalId);
      if (status !== 'requested') return;
      const taken = new AbortController();
      asking.set(approvalId, taken);
      // Where the server is not reached, the approval stays open there.
      settle(approval, taken.signal).catch(() => undefined);
    },
    close() {
      for (const taken of asking.values()) taken.abort();
      asking.clear();
    },
  };
}
