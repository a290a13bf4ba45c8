/**
 * The agent's lines: JSON-RPC 2.0, one object a line (ACP over stdio). `session/update` is passed on as its sender wrote
 * it; the rest is a peer's. Whatever is not ACP ends the agent.
 */
import { createPeer, type Handler, type Peer } from '@atoll/protocol/json-rpc';
import { linesOf } from '@atoll/protocol/lines';
import type { ExecutorContext } from '../executor.ts';
import { isRecord } from '../params.ts';
import { AcpFailure } from './acp-failure.ts';
import { memberText } from './json-member.ts';
import { type Failure, LineProcess } from './line-process.ts';

export type AcpConnection = { readonly peer: Peer; readonly process: LineProcess };

export type AcpConnectionOptions = {
  context: ExecutorContext;
  handlers: Readonly<Record<string, Handler>>;
  /** A `session/update`: its params, and their text as it came. A promise when no more should be read before. */
  onUpdate(params: Record<string, unknown>, text: string): Promise<void> | undefined;
  onEnd(failure: Failure): void;
};

export function openAcpConnection(options: AcpConnectionOptions): AcpConnection {
  const { context, handlers, onUpdate, onEnd } = options;
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const process = new LineProcess({
    name: 'The agent',
    command: context.settings.command ?? [],
    context,
    onBlock(block) {
      for (const line of linesOf(block)) if (process.alive) take(line);
    },
    onEnd(failure) {
      peer.close(new AcpFailure(failure.cause, failure.detail));
      onEnd(failure);
    },
  });
  const channel = { send: async (text: string) => process.write(text) };
  const peer = createPeer({ channel, handlers });

  function take(line: Uint8Array): void {
    try {
      const text = decoder.decode(line).trimEnd();
      if (text !== '') receive(text);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      process.refuse(`wrote a line to its stdout that is not of its protocol (${why.slice(0, 200)})`);
    }
  }

  function receive(text: string): void {
    const message: unknown = JSON.parse(text);
    if (!isRecord(message) || message.method !== 'session/update') return peer.receive(message);
    const params = memberText(text, 'params');
    // CR would end an SSE line.
    if (!isRecord(message.params) || params === undefined || params.includes('\r'))
      throw new Error('the params of a session/update are no object of one line');
    const wait = onUpdate(message.params, params);
    if (wait) process.pauseUntil(wait);
  }

  return { peer, process };
}
