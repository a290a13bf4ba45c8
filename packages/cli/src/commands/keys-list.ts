import type { Invocation } from '../invocation.ts';
import { pageParams, showPage } from '../page.ts';

export async function run({ options, client, terminal, signal }: Invocation): Promise<void> {
  const page = await (await client()).call('key.list', pageParams(options), { signal });
  showPage(terminal, page, page.keys, {
    empty: 'No keys.',
    header: ['KEY', 'ROLE', 'TENANT', 'EXPIRES', 'NAME'],
    row: (key) => [key.id, key.role, key.tenant, key.expiresAt ?? 'never', key.name ?? ''],
  });
}
