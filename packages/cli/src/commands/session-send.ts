import { given, readPrompt, wholeNumber } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { showTurn } from '../turn.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, optionalArg, options, signal, terminal } = invocation;
  const sessionId = arg('SESSION');
  const maxTurns = wholeNumber('max-turns', options['max-turns']);
  const content = await readPrompt(optionalArg('PROMPT'));
  const client = await invocation.client();
  await showTurn(invocation, client, sessionId, { content, ...given({ model: options.model, maxTurns }) });
  if (signal.aborted) terminal.note(`The turn goes on. To stop it: atoll session interrupt ${sessionId}`);
}
