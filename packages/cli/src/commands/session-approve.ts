import { UsageError } from '../failure.ts';
import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { pageParams, showPage } from '../page.ts';
import { callText } from '../render/approval.ts';
import { oneLine } from '../terminal.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, optionalArg, options, switches } = invocation;
  const sessionId = arg('SESSION');
  const approvalId = optionalArg('APPROVAL');
  const decisions = (['allow', 'deny'] as const).filter((name) => switches[name]);
  const [decision] = decisions;
  if (approvalId === undefined) {
    if (decision !== undefined || options.message !== undefined)
      throw new UsageError('APPROVAL is missing; without --allow and --deny this command lists what is open');
    return showOpen(invocation, sessionId);
  }
  if (decision === undefined || decisions.length > 1) throw new UsageError('give one of --allow and --deny');
  const { client, terminal, signal } = invocation;
  const params = { sessionId, approvalId, decision, ...given({ message: options.message }) };
  const { approval } = await (await client()).call('approval.decide', params, { signal });
  if (terminal.json) return terminal.value({ approval });
  terminal.line(`${decision === 'allow' ? 'Allowed' : 'Denied'}: ${callText(approval)}`);
}

async function showOpen({ options, client, terminal, signal }: Invocation, sessionId: string): Promise<void> {
  const page = await (await client()).call(
    'approval.list',
    { sessionId, ...pageParams(options) },
    { signal },
  );
  showPage(terminal, page, page.approvals, {
    empty: 'Nothing waits for a decision.',
    header: ['APPROVAL', 'TOOL', 'SINCE', 'INPUT'],
    row: ({ id, tool, createdAt, input }) => [id, tool, createdAt, oneLine(JSON.stringify(input), 200)],
  });
}
