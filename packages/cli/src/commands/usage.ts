import { type UsageItem, type UsageKey, type UsageSums, usageKeys } from '@atoll/protocol/schemas/usage';
import { UsageError } from '../failure.ts';
import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { pageParams } from '../page.ts';
import { bytesText, durationText } from '../render/amounts.ts';
import { table } from '../terminal.ts';

const SUMS = [
  'TURNS',
  'INPUT',
  'OUTPUT',
  'CACHE READ',
  'CACHE WRITE',
  'COST',
  'SANDBOXES',
  'LOG',
  'SNAPSHOTS',
];

export async function run({ options, client, terminal, signal }: Invocation): Promise<void> {
  const by = usageKeys.find((name) => name === options.by);
  if (options.by !== undefined && by === undefined)
    throw new UsageError(`--by must be one of ${usageKeys.join(', ')}`);
  const { from, to, agent, session } = options;
  const params = { ...pageParams(options), ...given({ by, from, to, agent, session }) };
  const answer = await (await client()).call('usage.show', params, { signal });
  if (terminal.json) return terminal.value(answer);
  if (answer.usage.length === 0) return terminal.line('Nothing was used.');
  const [header = '', ...rows] = table([
    [answer.by.toUpperCase(), ...SUMS],
    ...answer.usage.map((item) => [nameOf(answer.by, item), ...sumsText(item)]),
    ['all', ...sumsText(answer.totals)],
  ]);
  terminal.line(terminal.style.dim(header));
  for (const row of rows.slice(0, -1)) terminal.line(row);
  terminal.line(terminal.style.bold(rows.at(-1) ?? ''));
  if (answer.nextCursor !== null) terminal.note(`More: --cursor ${answer.nextCursor}`);
}

function nameOf(by: UsageKey, { day, agent, sessionId }: UsageItem): string {
  if (by === 'day') return day ?? '';
  if (by === 'agent') return agent ?? 'no agent';
  return sessionId ?? `erased (${agent ?? 'no agent'})`;
}

function sumsText(sums: UsageSums): string[] {
  const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens } = sums;
  return [
    ...[sums.turns, inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens].map(String),
    `$${sums.costUsd.toFixed(4)}`,
    durationText(sums.sandboxSeconds),
    bytesText(sums.logBytes),
    bytesText(sums.snapshotBytes),
  ];
}
