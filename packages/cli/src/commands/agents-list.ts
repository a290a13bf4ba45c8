import type { Invocation } from '../invocation.ts';
import { pageParams, showPage } from '../page.ts';

export async function run({ options, client, terminal, signal }: Invocation): Promise<void> {
  const page = await (await client()).call('agent.list', pageParams(options), { signal });
  showPage(terminal, page, page.agents, {
    empty: 'No agents yet. Deploy one with: atoll deploy DIR',
    header: ['NAME', 'VERSION', 'DEPLOYED'],
    row: (agent) => [agent.name, String(agent.version), agent.updatedAt],
  });
}
