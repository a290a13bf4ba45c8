import type { Invocation } from '../invocation.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const { runner } = await (await client()).call('runner.drain', { runnerId: arg('RUNNER') }, { signal });
  if (terminal.json) return terminal.value({ runner });
  terminal.line(`${runner.id} takes no more sandboxes; it has ${runner.reserved}.`);
}
