import type { Invocation } from '../invocation.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const params = { sessionId: arg('SESSION'), path: arg('PATH') };
  const removed = await (await client()).call('session.files.delete', params, { signal });
  if (terminal.json) return terminal.value(removed);
  terminal.line(`Removed ${removed.path}.`);
}
