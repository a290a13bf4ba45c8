/**
 * Somebody who uses sessions over the network, with the product's own client: sends messages, reads along, is cut off and
 * comes back, changes its mind. What it was told goes into the trace.
 */
import { type Client, createClient, type StreamEvent } from '@atoll/client';
import { AtollError } from '@atoll/protocol/errors';
import type { OperationInput, OperationResult } from '@atoll/protocol/operations';
import type { Life } from './agenda.ts';
import { COORDINATOR } from './coordinator.ts';
import type { Script } from './executor.ts';
import type { World } from './world.ts';

type CallName = Parameters<Client['call']>[0];

/** Places that were given to whoever never heard of it stay taken. */
const PATIENCE = 4;

export const AGENT = 'agent';

export type User = {
  readonly name: string;
  readonly done: boolean;
  /** Begins to do what it has in mind. */
  start(doing: (hands: Hands) => Promise<void>): void;
};

/** What a user can do. */
export type Hands = ReturnType<typeof createHands>;

export function createUser(world: World, name: string): User {
  const life = world.agenda.newLife(name);
  let done = false;
  return {
    name,
    get done() {
      return done;
    },
    start(doing) {
      world.agenda.after(0, life, () => {
        void doing(createHands(world, name, life)).finally(() => {
          done = true;
        });
      });
    },
  };
}

/** `slow`: how long it looks at an event, at most. */
type Following = { after: number; slow: number; enough?: () => boolean; signal?: AbortSignal };

function createHands(world: World, name: string, life: Life) {
  const { agenda, chance, tell } = world;
  const client: Client = createClient({ url: `http://${COORDINATOR}` });
  let calls = 0;
  let readers = 0;
  let keys = 0;

  const pause = (ms: number) => new Promise<void>((resolve) => void agenda.after(ms, life, resolve));

  async function call<N extends CallName>(
    what: N,
    params: OperationInput<N>,
  ): Promise<OperationResult<N> | AtollError | undefined> {
    const id = `${name} call ${++calls}`;
    tell({ kind: 'asked', call: id, what });
    try {
      const result = await client.call(what, params);
      tell({ kind: 'answered', call: id });
      return result;
    } catch (error) {
      tell({ kind: 'answered', call: id, error: codeOf(error) });
      return error instanceof AtollError ? error : undefined;
    }
  }

  /** Asks again until it is answered with something else than that it cannot be just now, or that there is no place. */
  async function insist<N extends CallName>(
    what: N,
    params: OperationInput<N>,
  ): Promise<OperationResult<N> | AtollError> {
    for (let full = 0; ; ) {
      const answer = await call(what, params);
      const later = answer === undefined || (answer instanceof AtollError && answer.status >= 500);
      if (!later) return answer as OperationResult<N> | AtollError;
      if (answer instanceof AtollError && answer.code === 'no_capacity' && ++full === PATIENCE) return answer;
      await pause(chance.between(200, 3_000));
    }
  }

  /** Reads to the end, or until it does not want to any more. */
  async function read(
    events: AsyncIterable<StreamEvent>,
    { left, ...of }: { session: string; wants: 'log' | 'turn'; after: number; left?: AbortSignal },
    each: (event: StreamEvent) => Promise<boolean> | boolean,
  ): Promise<unknown> {
    const reader = `${name} reader ${++readers}`;
    tell({ kind: 'reader_began', reader, ...of });
    try {
      for await (const event of events) {
        const { seq, text: data } = event;
        if (seq !== undefined) tell({ kind: 'reader_got', reader, event: { seq, event: event.event, data } });
        if (await each(event)) continue;
        tell({ kind: 'reader_ended', reader, how: 'left' });
        return undefined;
      }
      tell({ kind: 'reader_ended', reader, how: left?.aborted ? 'left' : 'finished' });
      return undefined;
    } catch (error) {
      tell({ kind: 'reader_ended', reader, how: 'failed', detail: codeOf(error) });
      return error;
    }
  }

  function decideSoon(session: string, { event, text }: StreamEvent): void {
    if (event !== 'approval') return;
    const { approvalId, status } = JSON.parse(text) as { approvalId: string; status: string };
    if (status !== 'requested') return;
    agenda.after(chance.between(0, 3_000), life, () => {
      const decision = chance.pick(['allow', 'deny'] as const);
      void insist('approval.decide', { sessionId: session, approvalId, decision });
    });
  }

  /** Sends until it is known what became of it; resolves with whether its turn was seen to its end. */
  async function send(session: string, script: Omit<Script, 'id'>): Promise<boolean> {
    const key = `${name} key ${++keys}`;
    const content = JSON.stringify({ id: key, ...script } satisfies Script);
    tell({ kind: 'sent', session, key, content });
    let over = false;
    const stubborn = script.ends === 'hangs' || script.ends === 'deaf';
    if (stubborn) void interruptUntil(session, () => over);
    let turn: string | undefined;
    try {
      for (;;) {
        const events = client.send(session, { content, idempotencyKey: key });
        const error = await read(events, { session, wants: 'turn', after: 0 }, (event) => {
          const input = event.event === 'input' ? (JSON.parse(event.text) as { turnId: string }) : undefined;
          if (input && turn === undefined) {
            turn = input.turnId;
            tell({ kind: 'accepted', session, key, turn });
          }
          decideSoon(session, event);
          return true;
        });
        if (error === undefined) return true;
        if (error instanceof AtollError && error.status < 500) {
          if (turn === undefined) tell({ kind: 'refused', session, key, code: error.code });
          return false;
        }
        await pause(chance.between(100, 2_000));
      }
    } finally {
      over = true;
    }
  }

  async function interruptUntil(session: string, over: () => boolean): Promise<void> {
    for (;;) {
      await pause(chance.between(1_500, 6_000));
      if (over()) return;
      await call('session.interrupt', { sessionId: session, queued: false });
    }
  }

  /** Follows a log from a place till it has enough, and resolves with how far it came. */
  async function follow(
    session: string,
    { after, slow, enough = () => false, signal }: Following,
  ): Promise<number> {
    let last = after;
    const left = new AbortController();
    signal?.addEventListener('abort', () => left.abort(), { once: true });
    if (signal?.aborted) return last;
    const events = client.events(session, { after, signal: left.signal });
    await read(events, { session, wants: 'log', after, left: left.signal }, async (event) => {
      last = event.seq ?? last;
      decideSoon(session, event);
      if (slow > 0) await pause(chance.between(0, slow));
      return !enough();
    });
    left.abort();
    return last;
  }

  return { name, chance, pause, call, insist, send, follow, tell, agenda };
}

function codeOf(error: unknown): string {
  return error instanceof AtollError ? error.code : 'unreachable';
}
