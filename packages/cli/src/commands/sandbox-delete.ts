import type { Invocation } from '../invocation.ts';

export async function run({ arg, switches, client, terminal, signal }: Invocation): Promise<void> {
  const params = { sandboxId: arg('SANDBOX'), wait: switches['no-wait'] !== true };
  const gone = await (await client()).call('sandbox.delete', params, { signal });
  if (terminal.json) return terminal.value(gone);
  terminal.line(`${gone.sandbox.id} is ${params.wait ? gone.sandbox.status : 'being ended'}.`);
}
