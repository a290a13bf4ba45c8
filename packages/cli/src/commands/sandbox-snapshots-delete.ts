import type { Invocation } from '../invocation.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const params = { sandboxId: arg('SANDBOX'), snapshotId: arg('SNAPSHOT') };
  const { snapshot } = await (await client()).call('sandbox.snapshots.delete', params, { signal });
  if (terminal.json) return terminal.value({ snapshot });
  terminal.line(`${snapshot.id} is forgotten.`);
}
