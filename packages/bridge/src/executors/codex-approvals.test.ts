import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApprovalDecision, ApprovalRequest } from '@atoll/protocol/approvals';
import type { ExecutorSettings } from '@atoll/protocol/runner-link';
import { createCodexApprovals } from './codex-approvals.ts';

function open(decide: (signal: AbortSignal) => Promise<ApprovalDecision>, settings: object = {}) {
  const asked: ApprovalRequest[] = [];
  const explained: string[] = [];
  let interrupts = 0;
  const approvals = createCodexApprovals({
    settings: { kind: 'codex', ...settings } satisfies ExecutorSettings,
    approve: (request, signal) => {
      asked.push(request);
      return decide(signal);
    },
    item: () => undefined,
    explain: async (_params, text) => void explained.push(text),
    interrupt: () => interrupts++,
  });
  const request = (method: string, params: Record<string, unknown> = {}) =>
    approvals.handlers[method]?.({ requestId: 1, ...params }, { signal: new AbortController().signal });
  return { approvals, request, asked, explained, interrupts: () => interrupts };
}

const COMMAND = 'item/commandExecution/requestApproval';
const PERMISSIONS = 'item/permissions/requestApproval';
const QUESTION = 'item/tool/requestUserInput';
const MCP = 'mcpServer/elicitation/request';
const allow = async (): Promise<ApprovalDecision> => ({ decision: 'allow' });
const deny = async (): Promise<ApprovalDecision> => ({ decision: 'deny', message: 'no' });
const cancelled = async (): Promise<ApprovalDecision> => ({ decision: 'cancelled' });

test('when nobody decides, the turn is interrupted', async () => {
  const { request, interrupts } = open(cancelled);
  assert.deepEqual(await request(COMMAND), { decision: 'cancel' });
  assert.deepEqual(await request(QUESTION, { questions: [{ id: 'a' }] }), { answers: {} });
  assert.deepEqual(await request(MCP, { serverName: 's' }), {
    action: 'cancel',
    content: null,
    _meta: null,
  });
  assert.equal(interrupts(), 3);
});

test('what Codex withdraws interrupts nothing', async () => {
  const { approvals, request, interrupts } = open(
    (signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve({ decision: 'cancelled' }));
      }),
  );
  const answered = request(COMMAND);
  approvals.withdraw('of another request');
  approvals.withdraw(1);
  assert.deepEqual(await answered, { decision: 'cancel' });
  const others = [request(COMMAND), request(PERMISSIONS, { requestId: 2 })];
  approvals.withdrawAll();
  await Promise.all(others);
  assert.equal(interrupts(), 0);
});

test('more rights are what was asked for and allowed, for the turn', async () => {
  const permissions = { network: { enabled: true }, fileSystem: null };
  const allowed = open(allow);
  assert.deepEqual(await allowed.request(PERMISSIONS, { permissions, reason: null, cwd: '/w' }), {
    permissions: { network: { enabled: true } },
    scope: 'turn',
  });
  assert.deepEqual(allowed.asked[0]?.input, { permissions, cwd: '/w' });
  const denied = open(deny);
  assert.deepEqual(await denied.request(PERMISSIONS, { permissions }), { permissions: {}, scope: 'turn' });
  assert.deepEqual(denied.explained, ['Permission to use request_permissions was denied: no']);
});

test('a question is asked whatever a policy allows, and not when it says deny', async () => {
  const questions = [
    { id: 'a', question: 'A?' },
    { id: 'b', question: 'B?' },
  ];
  const approvals = { '*': 'always_allow' };
  const asking = open(async () => ({ decision: 'allow', answers: { 'A?': '1' }, message: 'else' }), {
    approvals,
  });
  assert.deepEqual(await asking.request(QUESTION, { questions }), {
    answers: { a: { answers: ['1'] }, b: { answers: ['else'] } },
  });
  const refusing = open(allow, { approvals: { '*': 'deny' } });
  assert.deepEqual(await refusing.request(QUESTION, { questions }), { answers: {} });
  assert.deepEqual(refusing.asked, []);
});

test('the tools that a session names are allowed and denied, under the policies', async () => {
  const settings = {
    allowedTools: ['shell', 'mcp__s__t'],
    disallowedTools: ['apply_patch'],
    approvals: { mcp__s__t: 'always_ask' },
  };
  const { request, asked } = open(allow, settings);
  assert.deepEqual(await request(COMMAND), { decision: 'accept' });
  assert.deepEqual(await request('item/fileChange/requestApproval'), { decision: 'decline' });
  assert.deepEqual(asked, []);
  const _meta = { codex_approval_kind: 'mcp_tool_call', tool_name: 't', tool_params: { x: 1 } };
  await request(MCP, { serverName: 's', _meta });
  assert.deepEqual(asked, [{ kind: 'tool', tool: 'mcp__s__t', input: { x: 1 }, options: ['allow', 'deny'] }]);
});
