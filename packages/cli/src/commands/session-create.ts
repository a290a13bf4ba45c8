import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { permissionMode } from '../permission-mode.ts';

export async function run({ arg, options, client, terminal, signal }: Invocation): Promise<void> {
  const mode = permissionMode(options['permission-mode']);
  const params = { agent: arg('AGENT'), ...given({ model: options.model, permissionMode: mode }) };
  const { session } = await (await client()).call('session.create', params, { signal });
  // The id alone, so that `id=$(atoll session create …)` works.
  return terminal.json ? terminal.value({ session }) : terminal.line(session.id);
}
