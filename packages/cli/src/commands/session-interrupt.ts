import type { Invocation } from '../invocation.ts';

export async function run({ arg, switches, client, terminal, signal }: Invocation): Promise<void> {
  const params = { sessionId: arg('SESSION'), queued: switches.queued === true };
  const { session } = await (await client()).call('session.interrupt', params, { signal });
  if (terminal.json) return terminal.value({ session });
  terminal.line(`Interrupted. ${session.id} is ${session.status}.`);
}
