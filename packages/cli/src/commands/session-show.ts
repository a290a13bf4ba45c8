import type { Invocation } from '../invocation.ts';
import { because } from '../render/stream.ts';
import { table } from '../terminal.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const { session } = await (await client()).call('session.show', { sessionId: arg('SESSION') }, { signal });
  if (terminal.json) return terminal.value({ session });
  const facts = [
    ['status', session.status + because(session)],
    ['agent', `${session.agent}, version ${session.agentVersion}`],
    ['turn', session.turn ?? 'none'],
    ['waiting', `${session.queuedTurns} turns`],
    ['events', String(session.lastSeq)],
    ['runner', session.runnerId ?? 'none'],
    ['sandbox', session.sandboxId ?? 'none'],
    ['created', session.createdAt],
    ['updated', session.updatedAt],
    ['ended', session.endedAt ?? 'no'],
    ['usage', JSON.stringify(session.usage)],
  ];
  terminal.line(terminal.style.bold(session.id));
  for (const row of table(facts)) terminal.line(`  ${row}`);
}
