import type { Invocation } from '../invocation.ts';
import { pageParams, showPage } from '../page.ts';

export async function run({ options, client, terminal, signal }: Invocation): Promise<void> {
  const page = await (await client()).call('runner.list', pageParams(options), { signal });
  showPage(terminal, page, page.runners, {
    empty: 'No runners. Start one with: atoll runner --server URL',
    header: ['ID', 'HOSTNAME', 'LINK', 'STATUS', 'SANDBOXES', 'ADDRESS'],
    row: ({ id, hostname, link, status, reserved, capacity, address }) => [
      id,
      hostname,
      link,
      status,
      `${reserved} of ${capacity}`,
      address,
    ],
  });
}
