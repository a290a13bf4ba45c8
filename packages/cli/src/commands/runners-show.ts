import type { Invocation } from '../invocation.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const { runner } = await (await client()).call('runner.show', { runnerId: arg('RUNNER') }, { signal });
  if (terminal.json) return terminal.value({ runner });
  const { id, status, hostname, link, address, lease, capacity, reserved } = runner;
  const { labels, executorProfiles, drivers, version } = runner;
  const named = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  const rows: [string, string][] = [
    ['runner', id],
    ['status', status],
    ['hostname', hostname],
    ['link', `${link} ${address}`],
    ['lease', lease === null ? 'none: it runs in the server' : `until ${lease.until}`],
    ['sandboxes', `${reserved} of ${capacity}`],
    ['profiles', executorProfiles.join(', ')],
    ['drivers', drivers.join(', ')],
    ['labels', named.join(', ')],
    ['version', version],
  ];
  for (const [name, value] of rows) terminal.line(`${name.padEnd(10)} ${value}`);
}
