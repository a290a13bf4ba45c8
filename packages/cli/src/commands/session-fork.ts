import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';

export async function run({ arg, options, client, terminal, signal }: Invocation): Promise<void> {
  const params = { sessionId: arg('SESSION'), ...given({ at: options.at }) };
  const { session } = await (await client()).call('session.fork', params, { signal });
  if (terminal.json) return terminal.value({ session });
  // The id alone on stdout, so that `id=$(atoll session fork …)` works.
  terminal.line(session.id);
  if (session.detail !== null) terminal.note(session.detail);
}
