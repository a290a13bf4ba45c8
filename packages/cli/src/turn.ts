/** One turn on the terminal: what `run` and `session send` share. */
import { type Client, eventData, type StreamEvent } from '@atoll/client';
import { Failed } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { createStreamPrinter } from './render/stream.ts';

/** Sends, prints what comes, and throws Failed when the turn does not complete. */
export async function showTurn(
  invocation: Invocation,
  client: Client,
  sessionId: string,
  message: Parameters<Client['send']>[1],
): Promise<void> {
  const { terminal, signal } = invocation;
  const print = createStreamPrinter(terminal, { showInput: false });
  // Text as it is being written is for people who watch; everybody else gets whole messages, and a shorter log.
  const partial = terminal.interactive && !terminal.json ? { includePartialMessages: true } : {};
  let last: StreamEvent | undefined;
  for await (const event of client.send(sessionId, { ...message, ...partial }, { signal })) {
    print(event);
    last = event;
  }
  const done = last && eventData(last, 'done');
  if (!signal.aborted && done?.status !== 'completed')
    throw new Failed(`the turn ${done?.status ?? 'has no end'}`);
}
