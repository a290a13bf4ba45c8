/** When all has come to rest: what the API says of everything that is there, and whether every session can be used. */
import { AtollError } from '@atoll/protocol/errors';
import { createUser, type Hands } from './user.ts';
import type { World } from './world.ts';

const MAX_PROBING_MS = 120_000;

export async function lookAround(world: World): Promise<void> {
  const visitor = createUser(world, 'visitor');
  visitor.start(async (hands) => {
    await tidy(hands);
    const sessions = await sessionsOf(hands);
    await Promise.all(sessions.map(({ id, status }) => probe(hands, id, status)));
    for (const { id } of sessions) await showSession(hands, id);
    await showRest(hands);
  });
  await world.agenda.runUntil(world.agenda.now + MAX_PROBING_MS, () => visitor.done);
}

/** Sandboxes of no session whose owners never heard of them would keep their places. */
async function tidy({ insist }: Hands): Promise<void> {
  const listed = await insist('sandbox.list', { status: 'ready', limit: 1000 });
  const bare =
    listed instanceof AtollError ? [] : listed.sandboxes.filter(({ sessionId }) => sessionId === null);
  await Promise.all(bare.map(({ id }) => insist('sandbox.delete', { sandboxId: id, wait: true })));
}

async function sessionsOf({ insist }: Hands) {
  const listed = await insist('session.list', { limit: 100 });
  return listed instanceof AtollError ? [] : listed.sessions;
}

async function probe({ insist, pause, tell }: Hands, session: string, status: string): Promise<void> {
  const over = status === 'ended' || status === 'failed';
  const content = JSON.stringify({
    id: `probe ${session}`,
    says: 1,
    pace: 1,
    asks: false,
    ends: 'completed',
  });
  // While another session goes to make room, a place may be missing for a moment.
  for (let tries = 0; ; tries++) {
    const sent = await insist('session.send', { sessionId: session, content });
    if (sent instanceof AtollError) {
      const usable = false;
      return tell({ kind: 'probed', session, over, usable, detail: `refused: ${sent.code}` });
    }
    const turn = await endOf(sent.turn.id);
    const detail = `${turn?.status ?? 'no end'}: ${turn?.cause ?? ''} ${turn?.detail ?? ''}`;
    if (turn?.status === 'completed' || tries === 3)
      return tell({ kind: 'probed', session, over, usable: turn?.status === 'completed', detail });
    await pause(2_000);
  }

  async function endOf(turnId: string) {
    for (let polls = 0; polls < 60; polls++) {
      const page = await insist('session.events', { sessionId: session, limit: 1000 });
      const events = page instanceof AtollError ? [] : page.events;
      const done = events.find((event) => event.event === 'done' && turnOf(event.data) === turnId);
      if (done) return done.data as { status: string; cause?: string; detail?: string };
      await pause(500);
    }
    return undefined;
  }
}

function turnOf(data: unknown): string | undefined {
  return (data as { turnId?: string }).turnId;
}

async function showSession({ insist, tell }: Hands, sessionId: string): Promise<void> {
  const shown = await insist('session.show', { sessionId });
  if (shown instanceof AtollError) return;
  const { status, cause = null, detail = null, lastSeq } = shown.session;
  tell({ kind: 'session_is', session: sessionId, status, cause, detail, lastSeq });
}

async function showRest({ insist, tell }: Hands): Promise<void> {
  const [jobs, sandboxes] = await Promise.all([
    insist('job.list', { limit: 1000 }),
    insist('sandbox.list', { limit: 1000 }),
  ]);
  if (jobs instanceof AtollError || sandboxes instanceof AtollError) return;
  for (const { id: job, type, status, cause = null, detail = null } of jobs.jobs)
    tell({ kind: 'job_is', job, type, status, cause, detail });
  for (const { id: sandbox, status, cause = null, detail = null } of sandboxes.sandboxes)
    tell({ kind: 'sandbox_is', sandbox, status, cause, detail });
}
