import type { Invocation } from '../invocation.ts';

export async function run({ arg, switches, client, terminal, signal }: Invocation): Promise<void> {
  const params = { sandboxId: arg('SANDBOX'), wait: switches['no-wait'] !== true };
  const kept = await (await client()).call('sandbox.snapshot', params, { signal });
  // The id alone, so that `id=$(atoll sandbox snapshot …)` works.
  return terminal.json ? terminal.value(kept) : terminal.line(kept.job.snapshotId ?? '');
}
