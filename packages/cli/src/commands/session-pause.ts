import type { Invocation } from '../invocation.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const { session } = await (await client()).call('session.pause', { sessionId: arg('SESSION') }, { signal });
  if (terminal.json) return terminal.value({ session });
  terminal.line(`${session.id} is ${session.status}.`);
}
