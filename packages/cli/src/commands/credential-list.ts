import type { Invocation } from '../invocation.ts';
import { pageParams, showPage } from '../page.ts';

export async function run({ options, client, terminal, signal }: Invocation): Promise<void> {
  const page = await (await client()).call('credential.list', pageParams(options), { signal });
  showPage(terminal, page, page.credentials, {
    empty: 'No credentials.',
    header: ['CREDENTIAL', 'KIND', 'VERSION', 'FINGERPRINT', 'SET', 'AGENTS', 'FOR'],
    row: ({ name, kind, version, fingerprint, updatedAt, agents, hosts, url }) => [
      name,
      kind,
      String(version),
      fingerprint,
      updatedAt,
      agents?.join(' ') ?? 'all',
      hosts?.join(' ') ?? url ?? '',
    ],
  });
}
