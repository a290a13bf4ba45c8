import type { Client } from '@atoll/client';
import type { Session } from '@atoll/protocol/schemas/session';
import { allPages } from '../all-pages.ts';
import type { Invocation } from '../invocation.ts';
import { usageText } from '../render/amounts.ts';
import { because } from '../render/stream.ts';
import { createTimeline } from '../render/timeline.ts';
import { table } from '../terminal.ts';

/** How far back the timeline goes. */
const EVENTS = 20_000;
const PAGE = 1000;

export async function run(invocation: Invocation): Promise<void> {
  const { arg, terminal, signal } = invocation;
  const client = await invocation.client();
  const { session } = await client.call('session.show', { sessionId: arg('SESSION') }, { signal });
  if (terminal.json) return terminal.value({ session });
  terminal.line(terminal.style.bold(session.id));
  for (const row of table(factsOf(session))) terminal.line(`  ${row}`);
  terminal.line();
  await showTimeline(invocation, client, session);
}

function factsOf(session: Session): string[][] {
  const { parent, snapshotSeq } = session;
  return [
    ['status', session.status + because(session)],
    ['agent', `${session.agent}, version ${session.agentVersion}`],
    ['turn', session.turn ?? 'none'],
    ['waiting', `${session.queuedTurns} turns`],
    ['events', String(session.lastSeq)],
    ['runner', session.runnerId ?? 'none'],
    ['sandbox', session.sandboxId ?? 'none'],
    ...(parent === null ? [] : [['forked', `from ${parent.sessionId} after event ${parent.seq}`]]),
    ...(snapshotSeq === null ? [] : [['files', `began as they were after event ${snapshotSeq}`]]),
    ['created', session.createdAt],
    ['updated', session.updatedAt],
    ['ended', session.endedAt ?? 'no'],
    ['usage', usageText(session.usage) || 'none'],
  ];
}

async function showTimeline(
  { terminal, signal }: Invocation,
  client: Client,
  session: Session,
): Promise<void> {
  const { id: sessionId, lastSeq } = session;
  const { style, columns } = terminal;
  const forks = await forksOf(client, sessionId, signal);
  const snapshots = await snapshotsOf(client, sessionId, signal);
  const timeline = createTimeline({ style, columns, forks, snapshots });
  let after = Math.max(0, lastSeq - EVENTS);
  if (after > 0) terminal.line(style.dim(`  … ${after} earlier events`));
  while (after < lastSeq && !signal.aborted) {
    const page = await client.call('session.events', { sessionId, after, limit: PAGE }, { signal });
    for (const event of page.events) for (const line of timeline.push(event)) terminal.line(line);
    after = page.events.at(-1)?.seq ?? lastSeq;
  }
  for (const line of timeline.end()) terminal.line(line);
}

async function forksOf(client: Client, parent: string, signal: AbortSignal): Promise<Session[]> {
  const pages = allPages((from) => client.call('session.list', { parent, limit: PAGE, ...from }, { signal }));
  return (await Array.fromAsync(pages)).flatMap(({ sessions }) => sessions);
}

async function snapshotsOf(
  client: Client,
  sessionId: string,
  signal: AbortSignal,
): Promise<Map<number, { files: number; storedBytes: number }>> {
  const pages = allPages((from) =>
    client.call('session.snapshots.list', { sessionId, limit: PAGE, ...from }, { signal }),
  );
  const all = (await Array.fromAsync(pages)).flatMap(({ snapshots }) => snapshots);
  return new Map(all.filter(({ status }) => status === 'complete').map((one) => [one.seq, one]));
}
