import { sessionStatuses } from '@atoll/protocol/statuses';
import { UsageError } from '../failure.ts';
import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { pageParams, showPage } from '../page.ts';

export async function run({ options, client, terminal, signal }: Invocation): Promise<void> {
  const status = sessionStatuses.find((name) => name === options.status);
  if (options.status !== undefined && status === undefined)
    throw new UsageError(`--status must be one of ${sessionStatuses.join(', ')}`);
  const params = { ...pageParams(options), ...given({ agent: options.agent, status }) };
  const page = await (await client()).call('session.list', params, { signal });
  showPage(terminal, page, page.sessions, {
    empty: 'No sessions.',
    header: ['SESSION', 'AGENT', 'STATUS', 'EVENTS', 'CREATED'],
    row: (session) => [
      session.id,
      session.agent,
      session.status + (session.cause === null ? '' : ` (${session.cause})`),
      String(session.lastSeq),
      session.createdAt,
    ],
  });
}
