import { jobStatuses } from '@atoll/protocol/statuses';
import { UsageError } from '../failure.ts';
import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { pageParams, showPage } from '../page.ts';
import { because } from '../render/stream.ts';

export async function run({ options, client, terminal, signal }: Invocation): Promise<void> {
  const status = jobStatuses.find((name) => name === options.status);
  if (options.status !== undefined && status === undefined)
    throw new UsageError(`--status must be one of ${jobStatuses.join(', ')}`);
  const params = {
    ...pageParams(options),
    ...given({ status, sandboxId: options.sandbox, sessionId: options.session }),
  };
  const page = await (await client()).call('job.list', params, { signal });
  showPage(terminal, page, page.jobs, {
    empty: 'No jobs.',
    header: ['JOB', 'TYPE', 'SANDBOX', 'RUNNER', 'ATTEMPTS', 'STATUS', 'CREATED'],
    row: (job) => [
      job.id,
      job.type,
      job.sandboxId,
      job.runnerId ?? '-',
      String(job.attempts),
      job.status + because(job),
      job.createdAt,
    ],
  });
}
