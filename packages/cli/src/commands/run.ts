/** create → send → stream → end: the quickest way from an agent to an answer. */
import type { Client } from '@atoll/client';
import { given, readPrompt } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { permissionMode } from '../permission-mode.ts';
import { showTurn } from '../turn.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, optionalArg, options, switches, terminal, signal } = invocation;
  const agent = arg('AGENT');
  const mode = permissionMode(options['permission-mode']);
  const content = await readPrompt(optionalArg('PROMPT'));
  const client = await invocation.client();
  const settings = given({ model: options.model, permissionMode: mode });
  const { session } = await client.call('session.create', { agent, ...settings }, { signal });
  if (terminal.json) terminal.value({ event: 'session', session });
  try {
    await showTurn(invocation, client, session.id, { content });
  } finally {
    await leave(invocation, client, session.id, switches.keep === true);
  }
}

/** Also after a failure or Ctrl-C, so no signal may stop this; a second Ctrl-C ends the process anyway. */
async function leave({ terminal, signal }: Invocation, client: Client, sessionId: string, keep: boolean) {
  if (!keep) return void (await client.call('session.end', { sessionId }));
  if (signal.aborted) await client.call('session.interrupt', { sessionId });
  terminal.note(`The session stays open: atoll session send ${sessionId} "…"`);
}
