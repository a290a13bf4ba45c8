/** Lists: the same paging flags, table and JSON for all of them. */
import { given, wholeNumber } from './input.ts';
import { type Terminal, table } from './terminal.ts';

export function pageParams(options: Readonly<Record<string, string | undefined>>) {
  return given({ limit: wholeNumber('limit', options.limit), cursor: options.cursor });
}

export function showPage<T>(
  terminal: Terminal,
  page: { nextCursor: string | null },
  items: readonly T[],
  columns: { empty: string; header: readonly string[]; row(item: T): string[] },
): void {
  if (terminal.json) return terminal.value(page);
  if (items.length === 0) return terminal.line(columns.empty);
  const [header = '', ...rows] = table([columns.header, ...items.map((item) => columns.row(item))]);
  terminal.line(terminal.style.dim(header));
  for (const row of rows) terminal.line(row);
  if (page.nextCursor !== null) terminal.note(`More: --cursor ${page.nextCursor}`);
}
