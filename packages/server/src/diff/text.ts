/**
 * The difference of two texts as a unified diff. To find the shortest one takes time that grows with its square; texts
 * that differ by more are told as one piece in place of another, which is a diff as well.
 */
import { isUtf8 } from 'node:buffer';
import { type StructuredPatchHunk, structuredPatch } from 'diff';

const CONTEXT = 3;
/** Lines taken and put, and the time to find out which. */
const MAX_EDITS = 4000;
const MAX_MS = 250;

type Hunk = StructuredPatchHunk;

/** undefined: binary. */
export function textOf(content: Uint8Array): string | undefined {
  if (content.includes(0) || !isUtf8(content)) return undefined;
  return Buffer.from(content.buffer, content.byteOffset, content.length).toString();
}

/** The hunks alone, each line ended. */
export function unifiedHunks(before: string, after: string): string {
  return hunksOf(before, after)
    .map(({ lines, ...hunk }) => `${head(hunk)}\n${lines.join('\n')}\n`)
    .join('');
}

function hunksOf(before: string, after: string): Hunk[] {
  if (before === '' || after === '') return replacement(before, after);
  const bounds = { context: CONTEXT, maxEditLength: MAX_EDITS, timeout: MAX_MS };
  const found = structuredPatch('', '', before, after, undefined, undefined, bounds);
  return found?.hunks ?? replacement(before, after);
}

/** What both begin and end with stays; all between is taken and put. */
function replacement(before: string, after: string): Hunk[] {
  const [old, now] = [linesOf(before), linesOf(after)];
  const shorter = Math.min(old.length, now.length);
  let start = 0;
  while (start < shorter && old[start] === now[start]) start++;
  let end = 0;
  while (end < shorter - start && old.at(-1 - end) === now.at(-1 - end)) end++;
  const [lead, tail] = [Math.min(start, CONTEXT), Math.min(end, CONTEXT)];
  const taken = old.slice(start, old.length - end);
  const put = now.slice(start, now.length - end);
  const marked = (mark: string, lines: readonly string[]) => lines.flatMap((line) => marks(mark, line));
  const lines = [
    ...marked(' ', old.slice(start - lead, start)),
    ...marked('-', taken),
    ...marked('+', put),
    ...marked(' ', old.slice(old.length - end, old.length - end + tail)),
  ];
  const place = start - lead + 1;
  const context = lead + tail;
  const sizes = { oldLines: taken.length + context, newLines: put.length + context };
  return [{ oldStart: place, newStart: place, ...sizes, lines }];
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.split(/(?<=\n)/);
}

function marks(mark: string, line: string): string[] {
  return line.endsWith('\n') ? [mark + line.slice(0, -1)] : [mark + line, '\\ No newline at end of file'];
}

function head({ oldStart, oldLines, newStart, newLines }: Omit<Hunk, 'lines'>): string {
  return `@@ -${range(oldStart, oldLines)} +${range(newStart, newLines)} @@`;
}

/** Of no lines, the place is that of the line before. */
function range(start: number, lines: number): string {
  return lines === 1 ? String(start) : `${lines === 0 ? start - 1 : start},${lines}`;
}
