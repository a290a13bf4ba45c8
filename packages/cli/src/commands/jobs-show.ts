import type { Invocation } from '../invocation.ts';
import { because } from '../render/stream.ts';
import { table } from '../terminal.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const { job } = await (await client()).call('job.show', { jobId: arg('JOB') }, { signal });
  if (terminal.json) return terminal.value({ job });
  terminal.line(terminal.style.bold(job.id));
  const rows = [
    ['status', job.status + because(job)],
    ['type', job.type],
    ['sandbox', job.sandboxId],
    ['session', job.sessionId ?? 'none'],
    ['runner', job.runnerId ?? 'none'],
    ['snapshot', job.snapshotId ?? 'none'],
    ['attempts', String(job.attempts)],
    ['created', job.createdAt],
    ['updated', job.updatedAt],
  ];
  for (const row of table(rows)) terminal.line(`  ${row}`);
}
