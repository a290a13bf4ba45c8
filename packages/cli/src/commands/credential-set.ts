import { credentialKinds } from '@atoll/protocol/schemas/credential';
import { UsageError } from '../failure.ts';
import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { readSecret } from '../secret-input.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, options, lists, terminal, signal } = invocation;
  const name = arg('NAME');
  const kind = credentialKinds.find((known) => known === options.kind);
  if (kind === undefined) throw new UsageError(`--kind must be one of ${credentialKinds.join(', ')}`);
  const { header, template, username, url } = options;
  const use = given({ hosts: copy(lists.host), header, template, username, url });
  const bounds = given({ agents: copy(lists.agent), methods: copy(lists.method), paths: copy(lists.path) });
  const client = await invocation.client();
  const value = await readSecret(options['value-file'], terminal);
  const params = { name, kind, value, ...use, ...bounds };
  const { credential } = await client.call('credential.set', params, { signal });
  if (terminal.json) return terminal.value({ credential });
  terminal.line(
    `Stored ${credential.name}, version ${credential.version} (fingerprint ${credential.fingerprint}).`,
  );
}

function copy(list: readonly string[] | undefined): string[] | undefined {
  return list && [...list];
}
