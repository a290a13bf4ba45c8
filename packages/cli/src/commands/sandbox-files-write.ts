import { fileSource, showWritten } from '../files.ts';
import type { Invocation } from '../invocation.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, signal } = invocation;
  const client = await invocation.client();
  const content = await fileSource(invocation);
  showWritten(invocation, await client.sandboxes.writeFile(arg('SANDBOX'), arg('PATH'), content, { signal }));
}
