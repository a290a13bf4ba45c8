import { showFile } from '../files.ts';
import type { Invocation } from '../invocation.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, signal } = invocation;
  const client = await invocation.client();
  await showFile(invocation, await client.readFile(arg('SESSION'), arg('PATH'), { signal }));
}
