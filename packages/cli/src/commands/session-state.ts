import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { usageText } from '../render/amounts.ts';
import { callText } from '../render/approval.ts';
import { because } from '../render/stream.ts';
import { table } from '../terminal.ts';

export async function run({ arg, options, client, terminal, signal }: Invocation): Promise<void> {
  const params = { sessionId: arg('SESSION'), ...given({ at: options.at }) };
  const answer = await (await client()).call('session.state', params, { signal });
  if (terminal.json) return terminal.value(answer);
  const { session, asOf } = answer;
  if (session === null) return terminal.line(`${params.sessionId} had not begun at ${asOf}.`);
  const facts = [
    ['at', typeof asOf === 'number' ? `event ${asOf}` : asOf],
    ['status', session.status + because(session)],
    ['turn', session.turn ?? 'none'],
    ['events', String(session.lastSeq)],
    ['snapshot', session.snapshotSeq === null ? 'none' : `of event ${session.snapshotSeq}`],
    ['usage', usageText(session.usage) || 'none'],
    ...session.approvals.map((approval) => ['asks', callText(approval)]),
  ];
  terminal.line(terminal.style.bold(session.id));
  for (const row of table(facts)) terminal.line(`  ${row}`);
}
