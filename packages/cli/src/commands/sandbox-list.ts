import { sandboxStatuses } from '@atoll/protocol/statuses';
import { UsageError } from '../failure.ts';
import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { pageParams, showPage } from '../page.ts';
import { because } from '../render/stream.ts';

export async function run({ options, client, terminal, signal }: Invocation): Promise<void> {
  const status = sandboxStatuses.find((name) => name === options.status);
  if (options.status !== undefined && status === undefined)
    throw new UsageError(`--status must be one of ${sandboxStatuses.join(', ')}`);
  const params = { ...pageParams(options), ...given({ status, name: options.name }) };
  const page = await (await client()).call('sandbox.list', params, { signal });
  showPage(terminal, page, page.sandboxes, {
    empty: 'No sandboxes.',
    header: ['SANDBOX', 'NAME', 'SESSION', 'RUNNER', 'STATUS', 'CREATED'],
    row: (sandbox) => [
      sandbox.id,
      sandbox.name ?? '-',
      sandbox.sessionId ?? '-',
      sandbox.runnerId ?? '-',
      sandbox.status + because(sandbox),
      sandbox.createdAt,
    ],
  });
}
