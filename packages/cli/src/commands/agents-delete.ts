import type { Invocation } from '../invocation.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const { agent } = await (await client()).call('agent.delete', { name: arg('NAME') }, { signal });
  if (terminal.json) return terminal.value({ agent });
  terminal.line(`Removed ${agent.name} and its versions.`);
}
