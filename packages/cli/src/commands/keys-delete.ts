import type { Invocation } from '../invocation.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const { key } = await (await client()).call('key.delete', { keyId: arg('KEY-ID') }, { signal });
  if (terminal.json) return terminal.value({ key });
  terminal.line(`Revoked ${key.id}.`);
}
