import type { Invocation } from '../invocation.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const { credential } = await (await client()).call('credential.delete', { name: arg('NAME') }, { signal });
  if (terminal.json) return terminal.value({ credential });
  terminal.line(`Removed ${credential.name}.`);
}
