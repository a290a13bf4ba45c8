import { roles } from '@atoll/protocol/schemas/platform';
import { UsageError } from '../failure.ts';
import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';

export async function run({ options, client, terminal, signal }: Invocation): Promise<void> {
  const role = roles.find((name) => name === (options.role ?? 'client'));
  if (role === undefined) throw new UsageError(`--role must be one of ${roles.join(', ')}`);
  const { tenant, name } = options;
  const params = { role, ...given({ tenant, name, expiresAt: options['expires-at'] }) };
  const { key, secret } = await (await client()).call('key.create', params, { signal });
  if (terminal.json) return terminal.value({ key, secret });
  terminal.line(secret);
  terminal.note(`${key.id}, role ${key.role}, tenant ${key.tenant}. The secret is not shown again.`);
}
