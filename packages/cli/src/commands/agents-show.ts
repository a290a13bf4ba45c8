import type { Invocation } from '../invocation.ts';
import { table } from '../terminal.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const { agent } = await (await client()).call('agent.show', { name: arg('NAME') }, { signal });
  if (terminal.json) return terminal.value({ agent });
  terminal.line(`${terminal.style.bold(agent.name)}  version ${agent.version}`);
  const rows = agent.versions.map((version) => [
    String(version.version),
    `${version.files} files`,
    `${version.sizeBytes} bytes`,
    version.createdAt,
    version.hash.slice(0, 12),
  ]);
  for (const row of table(rows)) terminal.line(`  ${row}`);
}
