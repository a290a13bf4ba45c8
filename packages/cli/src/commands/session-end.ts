import type { Invocation } from '../invocation.ts';

export async function run({ arg, switches, client, terminal, signal }: Invocation): Promise<void> {
  const params = { sessionId: arg('SESSION'), purge: switches.purge === true };
  const { session } = await (await client()).call('session.end', params, { signal });
  if (terminal.json) return terminal.value({ session });
  terminal.line(`${session.id} is ${params.purge ? 'erased' : session.status}.`);
}
