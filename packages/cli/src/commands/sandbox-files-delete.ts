import { showRemoved } from '../files.ts';
import type { Invocation } from '../invocation.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, signal } = invocation;
  const params = { sandboxId: arg('SANDBOX'), path: arg('PATH') };
  const client = await invocation.client();
  showRemoved(invocation, await client.call('sandbox.files.delete', params, { signal }));
}
