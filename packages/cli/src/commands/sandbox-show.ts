import type { Invocation } from '../invocation.ts';
import { because } from '../render/stream.ts';
import { table } from '../terminal.ts';

export async function run({ arg, client, terminal, signal }: Invocation): Promise<void> {
  const { sandbox } = await (await client()).call('sandbox.show', { sandboxId: arg('SANDBOX') }, { signal });
  if (terminal.json) return terminal.value({ sandbox });
  terminal.line(terminal.style.bold(sandbox.id));
  const { cpu, memoryMb, timeoutMs } = sandbox;
  const rows = [
    ['status', sandbox.status + because(sandbox)],
    ['name', sandbox.name ?? 'none'],
    ['session', sandbox.sessionId ?? 'none'],
    ['runner', sandbox.runnerId ?? 'none'],
    ['began with', sandbox.snapshotId ?? 'nothing'],
    ['image', sandbox.image ?? 'the driver’s own'],
    ['cpu', cpu === null ? 'as the runner gives' : String(cpu)],
    ['memory', memoryMb === null ? 'as the runner gives' : `${memoryMb} MB`],
    ['lives', timeoutMs === null ? 'until it is deleted' : `${timeoutMs} ms`],
    ['created', sandbox.createdAt],
    ['ready', sandbox.readyAt ?? 'no'],
    ['ended', sandbox.endedAt ?? 'no'],
  ];
  for (const row of table(rows)) terminal.line(`  ${row}`);
}
