import type { Client } from '@atoll/client';
import type { Session } from '@atoll/protocol/schemas/session';
import type { Invocation } from '../invocation.ts';
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
    ['usage', JSON.stringify(session.usage)],
  ];
}

async function showTimeline(
  { terminal, signal }: Invocation,
  client: Client,
  session: Session,
): Promise<void> {
  const { id: sessionId, lastSeq } = session;
  const { sessions: forks } = await client.call(
    'session.list',
    { parent: sessionId, limit: PAGE },
    { signal },
  );
  const { style, columns } = terminal;
  let after = Math.max(0, lastSeq - EVENTS);
  const snapshots = await snapshotSeqs(client, { sessionId, after, signal });
  const timeline = createTimeline({ style, columns, forks, isSnapshot: (seq) => snapshots.has(seq) });
  if (after > 0) terminal.line(style.dim(`  … ${after} earlier events`));
  while (after < lastSeq && !signal.aborted) {
    const page = await client.call('session.events', { sessionId, after, limit: PAGE }, { signal });
    for (const event of page.events) for (const line of timeline.push(event)) terminal.line(line);
    after = page.events.at(-1)?.seq ?? lastSeq;
  }
  for (const line of timeline.end()) terminal.line(line);
}

async function snapshotSeqs(
  client: Client,
  { sessionId, after, signal }: { sessionId: string; after: number; signal: AbortSignal },
): Promise<Set<number>> {
  const seqs = new Set<number>();
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const from = cursor === undefined ? {} : { cursor };
    const page = await client.call('session.snapshots.list', { sessionId, limit: PAGE, ...from }, { signal });
    for (const { seq, status } of page.snapshots) if (status === 'complete' && seq > after) seqs.add(seq);
    cursor = page.nextCursor;
  }
  return seqs;
}
