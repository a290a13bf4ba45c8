/**
 * The turns that the editor sees as they run: those of its own prompts, each to its end, and one that ran already when
 * its session was loaded.
 */
import type { AgentContext, StopReason } from '@agentclientprotocol/sdk';
import { eventData } from '@atoll/client';
import { AtollError } from '@atoll/protocol/errors';
import type { Platform } from '../platform.ts';
import type { Modes } from './modes.ts';
import type { Content } from './prompt-content.ts';
import { createTeller, type Teller } from './teller.ts';
import { stopReasonOf } from './turn-end.ts';

export type Prompt = { sessionId: string; content: Content; signal: AbortSignal };

export type Prompts = {
  /** Rejects with what the prompt is to be answered with when its turn fails. */
  run(prompt: Prompt): Promise<StopReason>;
  /** Tells what a session's log holds; resolves then. What it is at work on goes on being told. */
  replay(sessionId: string): Promise<void>;
  /** Interrupts what runs in the session, and drops what waits there. Never rejects. */
  cancel(sessionId: string): Promise<void>;
};

type Running = { cancelled: boolean; accepted: boolean; leave: AbortController };

export function createPrompts(options: {
  platform: Platform;
  client: AgentContext;
  /** Whether the editor has forms. */
  forms: boolean;
  modes: Pick<Modes, 'current'>;
  /** Aborts when the editor is gone. */
  gone: AbortSignal;
}): Prompts {
  const { platform, client, forms, modes, gone } = options;
  const running = new Map<string, Set<Running>>();

  async function withTeller<T>(sessionId: string, use: (teller: Teller) => Promise<T>): Promise<T> {
    const onCancelled = () => void cancel(sessionId);
    const mode = () => modes.current(sessionId);
    const teller = createTeller({ platform, client, sessionId, forms, mode, onCancelled });
    // What it asks is not answered by its absence: whoever comes next is asked.
    gone.addEventListener('abort', teller.close, { once: true });
    try {
      return await use(teller);
    } finally {
      gone.removeEventListener('abort', teller.close);
      teller.close();
    }
  }

  async function run(prompt: Prompt): Promise<StopReason> {
    const { sessionId, signal } = prompt;
    const own: Running = { cancelled: false, accepted: false, leave: new AbortController() };
    const all = running.get(sessionId) ?? new Set();
    running.set(sessionId, all.add(own));
    // An editor that is gone wanted nothing stopped.
    const onAbort = () => void (gone.aborted || cancel(sessionId));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await withTeller(sessionId, (teller) => tellTurn(prompt, own, teller));
    } finally {
      signal.removeEventListener('abort', onAbort);
      all.delete(own);
      if (all.size === 0) running.delete(sessionId);
    }
  }

  async function tellTurn({ sessionId, content }: Prompt, own: Running, teller: Teller): Promise<StopReason> {
    const signal = AbortSignal.any([own.leave.signal, gone]);
    for await (const event of platform.send(
      sessionId,
      { content, includePartialMessages: true },
      { signal },
    )) {
      if (!own.accepted && own.cancelled) void interrupt(sessionId, [own]);
      own.accepted = true;
      await teller.live(event);
      const done = eventData(event, 'done');
      if (done !== undefined) return stopReasonOf(done, teller.stopReason);
    }
    if (own.cancelled) return 'cancelled';
    throw new AtollError('cancelled', 'the editor is gone');
  }

  async function cancel(sessionId: string): Promise<void> {
    const own = [...(running.get(sessionId) ?? [])];
    for (const prompt of own) prompt.cancelled = true;
    // What the platform does not know yet is interrupted when it does.
    if (own.length === 0 || own.some(({ accepted }) => accepted)) await interrupt(sessionId, own);
  }

  async function interrupt(sessionId: string, own: readonly Running[]): Promise<void> {
    try {
      await platform.call('session.interrupt', { sessionId, queued: true });
    } catch (error) {
      if (error instanceof AtollError) return;
      // A server that is not reached will not tell the end here, either; its log has it.
      for (const { leave } of own) leave.abort();
    }
  }

  async function tellLog(sessionId: string, replayed: () => void): Promise<void> {
    const { session } = await platform.call('session.show', { sessionId });
    await withTeller(sessionId, async (teller) => {
      for await (const event of platform.events(sessionId, { signal: gone })) {
        const { seq = 0 } = event;
        if (seq > session.lastSeq) {
          await teller.live(event);
          if (eventData(event, 'done')?.turnId === session.turn) return;
          continue;
        }
        await teller.past(event);
        if (seq < session.lastSeq) continue;
        if (session.turn === null) return;
        replayed();
        teller.goLive();
      }
    });
  }

  return {
    run,
    cancel,
    replay: (sessionId) =>
      new Promise((resolve, reject) => {
        tellLog(sessionId, resolve).then(resolve, reject);
      }),
  };
}
