import { basename, resolve } from 'node:path';
import { readAgentFolder } from '../agent-folder.ts';
import type { Invocation } from '../invocation.ts';

export async function run({ arg, options, client, terminal, signal }: Invocation): Promise<void> {
  const directory = resolve(arg('DIR'));
  const name = options.name ?? basename(directory).toLowerCase();
  const files = await readAgentFolder(directory);
  const { agent } = await (await client()).call('agent.deploy', { name, files }, { signal });
  if (terminal.json) return terminal.value({ agent });
  terminal.line(`Deployed ${agent.name}, version ${agent.version} (${files.length} files).`);
  if (terminal.interactive) terminal.line(terminal.style.dim(`Try: atoll run ${agent.name} "Hello"`));
}
