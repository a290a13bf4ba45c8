import type { OperationResult } from '@atoll/protocol/operations';
import type { FileChange } from '@atoll/protocol/schemas/diff';
import { allPages } from '../all-pages.ts';
import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { createDiffStat } from '../render/diff-stat.ts';
import { colored, patchLines } from '../render/patch.ts';
import { harmless } from '../terminal.ts';

/** More than that on a terminal is told as a table. */
const MAX_LINES = 400;
const PAGE = 1000;

type Page = OperationResult<'session.diff'>;

export async function run({ arg, options, switches, client, terminal, signal }: Invocation): Promise<void> {
  const params = { sessionId: arg('SESSION'), ...given({ from: options.from, to: options.to }) };
  const server = await client();
  const pages = allPages((from) =>
    server.call('session.diff', { ...params, limit: PAGE, ...from }, { signal }),
  );
  if (terminal.json) {
    for await (const page of pages) terminal.value(page);
    return;
  }
  const whole = !switches.stat && !terminal.interactive;
  const stat = createDiffStat(terminal);
  const lines: string[] = [];
  for await (const change of shownOf(pages, (page) => terminal.note(pointsOf(page)))) {
    if (whole) {
      terminal.write(`${patchLines(change).join('\n')}\n`);
      continue;
    }
    stat.add(change);
    if (!switches.stat && lines.length <= MAX_LINES) lines.push(...patchLines(change));
  }
  if (whole) return;
  const short = !switches.stat && lines.length <= MAX_LINES;
  if (short) for (const line of lines) terminal.line(colored(harmless(line), terminal.style));
  else for (const row of stat.rows()) terminal.line(row);
  terminal.line(stat.total());
  if (!short && !switches.stat) terminal.note('Too long to show here; pipe it: atoll session diff … | less');
}

/** A directory that came or went with what is in it goes without saying. */
async function* shownOf(
  pages: AsyncIterable<Page>,
  onFirst: (page: Page) => void,
): AsyncGenerator<FileChange> {
  let held: FileChange | undefined;
  let begun = false;
  for await (const page of pages) {
    if (!begun) onFirst(page);
    begun = true;
    for (const change of page.changes) {
      if (held && !(isDirectoryAlone(held) && change.path.startsWith(`${held.path}/`))) yield held;
      held = change;
    }
  }
  if (held) yield held;
}

function isDirectoryAlone({ change, before, after }: FileChange): boolean {
  return change !== 'changed' && (after ?? before)?.type === 'directory';
}

function pointsOf({ fromSeq, toSeq }: Page): string {
  const point = (seq: number) => (seq === 0 ? 'the agent’s folder' : `event ${seq}`);
  return `from ${point(fromSeq)} to ${toSeq === null ? 'now' : point(toSeq)}`;
}
