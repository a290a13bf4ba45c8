/** What users do while things break: a few sessions with a few messages each, and sandboxes of no session. */
import { AtollError } from '@atoll/protocol/errors';
import type { Chance } from './chance.ts';
import type { Script } from './executor.ts';
import { AGENT, type Hands } from './user.ts';

/** A session from its beginning; what comes of it depends on chance. */
export async function haveSession(hands: Hands): Promise<void> {
  const { chance, pause, insist, send, follow } = hands;
  const created = await insist('session.create', { agent: AGENT });
  if (created instanceof AtollError) return;
  const { id: session } = created.session;
  const over = new AbortController();
  void follow(session, { after: 0, slow: 0 });
  const coming = chance.happens(0.4) ? comeAndGo(hands, session, over.signal) : undefined;
  const many = chance.pick([1, 1, 2]);
  for (let i = 0; i < many; i++) {
    await pause(chance.between(0, 2_000));
    const sent = [send(session, scriptFor(chance))];
    if (chance.happens(0.3))
      sent.push(pause(chance.between(0, 200)).then(() => send(session, scriptFor(chance))));
    if (chance.happens(0.3)) sent.push(changeMind(hands, session));
    await Promise.all(sent);
    if (chance.happens(0.25)) await insist('session.pause', { sessionId: session });
    if (chance.happens(0.15)) await insist('session.resume', { sessionId: session });
  }
  over.abort();
  if (chance.happens(0.4)) await insist('session.end', { sessionId: session });
  await coming;
}

async function changeMind({ chance, pause, call }: Hands, sessionId: string): Promise<boolean> {
  await pause(chance.between(0, 3_000));
  await call('session.interrupt', { sessionId, queued: chance.happens(0.3) });
  return true;
}

/** Reads some, leaves, and comes back for what came since; slowly, now and then. */
async function comeAndGo(hands: Hands, session: string, over: AbortSignal): Promise<void> {
  const { chance, pause, follow } = hands;
  for (let after = 0; !over.aborted; ) {
    let left = chance.between(1, 30);
    const enough = () => --left <= 0;
    after = await follow(session, { after, slow: chance.happens(0.3) ? 400 : 0, enough, signal: over });
    await pause(chance.between(50, 5_000));
  }
}

/** A sandbox of no session: made, used or not, deleted. */
export async function haveSandbox({ chance, pause, call, insist }: Hands): Promise<void> {
  await pause(chance.between(0, 5_000));
  const made = await insist('sandbox.create', { wait: chance.happens(0.5) });
  if (made instanceof AtollError) return;
  const { id: sandboxId } = made.sandbox;
  await pause(chance.between(0, 4_000));
  if (chance.happens(0.5)) await call('sandbox.exec', { sandboxId, command: 'true' });
  await insist('sandbox.delete', { sandboxId, wait: chance.happens(0.5) });
}

function scriptFor(chance: Chance): Omit<Script, 'id'> {
  const ends = chance.pick([
    ...(['completed', 'completed', 'completed', 'completed', 'completed', 'completed'] as const),
    ...(['failed', 'dies', 'hangs', 'deaf'] as const),
  ]);
  return {
    says: chance.between(0, 4),
    pace: chance.pick([5, 40, 150, 600]),
    asks: chance.happens(0.15),
    ends,
  };
}
