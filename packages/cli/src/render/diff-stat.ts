/** What changed in a workspace as a table: a line for each path, with how much of it, and a sum. */
import type { FileChange } from '@atoll/protocol/schemas/diff';
import { oneLine, type Style } from '../terminal.ts';
import { countLines, inWords } from './patch.ts';

export type DiffStat = {
  add(change: FileChange): void;
  rows(): string[];
  total(): string;
};

type Row = { mark: string; path: string; added: number; removed: number; words: string | undefined };

const marks = { added: 'A', changed: 'M', removed: 'D' } as const;
const MIN_PATH = 20;
const MAX_BAR = 40;

export function createDiffStat({ style, columns }: { style: Style; columns: number }): DiffStat {
  const rows: Row[] = [];
  const sum = { added: 0, removed: 0 };

  function add(change: FileChange): void {
    const { added, removed } = countLines(change);
    sum.added += added;
    sum.removed += removed;
    const words = change.diff === null ? inWords(change) : undefined;
    rows.push({ mark: marks[change.change], path: oneLine(change.path, columns), added, removed, words });
  }

  function row({ mark, path, added, removed, words }: Row, width: number, most: number): string {
    const paint = mark === 'A' ? style.green : mark === 'D' ? style.red : style.yellow;
    const place = `${paint(mark)} ${oneLine(path, width).padEnd(width)}  `;
    const room = Math.max(MIN_PATH, columns - width - 4);
    if (words !== undefined) return place + style.dim(oneLine(words, room));
    const count = String(added + removed).padStart(5);
    const scale = Math.min(1, Math.min(MAX_BAR, room - 6) / Math.max(1, most));
    const bar = (length: number, sign: string) => sign.repeat(length === 0 ? 0 : Math.max(1, length * scale));
    return `${place}${count} ${style.green(bar(added, '+'))}${style.red(bar(removed, '-'))}`;
  }

  return {
    add,
    rows() {
      const longest = rows.reduce((most, { path }) => Math.max(most, path.length), 0);
      const most = rows.reduce((max, { added, removed }) => Math.max(max, added + removed), 0);
      const width = Math.min(longest, Math.max(MIN_PATH, columns >> 1));
      return rows.map((one) => row(one, width, most));
    },
    total() {
      const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
      return [
        `${count(rows.length, 'change')}`,
        style.green(`${count(sum.added, 'line')} added`),
        style.red(`${sum.removed} removed`),
      ].join(', ');
    },
  };
}
