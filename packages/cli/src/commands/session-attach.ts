import { given, wholeNumber } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { createStreamPrinter } from '../render/stream.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, options, terminal, signal } = invocation;
  const sessionId = arg('SESSION');
  const after = wholeNumber('after', options.after);
  const client = await invocation.client();
  // The stream waits for a server that is away, for ever; a wrong address should be told at once.
  await client.call('session.show', { sessionId }, { signal });
  const print = createStreamPrinter(terminal, { showInput: true });
  for await (const event of client.events(sessionId, { signal, ...given({ after }) })) print(event);
}
