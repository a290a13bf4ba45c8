/**
 * The difference of two texts as a unified diff. To find the shortest one takes time that grows with its square; texts
 * that differ by more are told as one piece in place of another, which is a diff as well.
 */
import { isUtf8 } from 'node:buffer';
import { diffArrays } from 'diff';

const CONTEXT = 3;
/** Lines taken and put; and a net below that, for a machine that has other things to do. */
const MAX_EDITS = 2000;
const MAX_MS = 1000;

/** The line after one that nothing ends. It keeps two last lines apart that differ in that alone. */
const NO_END = '\n\\ No newline at end of file';

/** Lines of the one text that stand in place of lines of the other; ends are behind the last. */
type Edit = { old: Range; now: Range };
type Range = { start: number; end: number };

/** undefined: binary. */
export function textOf(content: Uint8Array): string | undefined {
  if (content.includes(0) || !isUtf8(content)) return undefined;
  return Buffer.from(content.buffer, content.byteOffset, content.length).toString();
}

/** The hunks alone, each line ended; undefined when they are longer than that. */
export function unifiedHunks(before: string, after: string, maxChars: number): string | undefined {
  const [old, now] = [linesOf(before), linesOf(after)];
  const hunks = groupsOf(editsOf(old, now)).map((edits) => hunkOf(edits, old, now));
  const chars = hunks.reduce((sum, { length }) => sum + length, 0);
  return chars > maxChars ? undefined : hunks.join('');
}

function linesOf(text: string): string[] {
  const lines = text.split('\n');
  const last = lines.pop() ?? '';
  if (last !== '') lines.push(last + NO_END);
  return lines;
}

function editsOf(old: readonly string[], now: readonly string[]): Edit[] {
  const shorter = Math.min(old.length, now.length);
  let lead = 0;
  while (lead < shorter && old[lead] === now[lead]) lead++;
  let tail = 0;
  while (tail < shorter - lead && old.at(-1 - tail) === now.at(-1 - tail)) tail++;
  const middle = {
    old: { start: lead, end: old.length - tail },
    now: { start: lead, end: now.length - tail },
  };
  if (isEmpty(middle.old) || isEmpty(middle.now))
    return isEmpty(middle.old) && isEmpty(middle.now) ? [] : [middle];
  return shortestEdits(old, now, middle) ?? [middle];
}

/** undefined: there is none that is short. */
function shortestEdits(old: readonly string[], now: readonly string[], within: Edit): Edit[] | undefined {
  const bounds = { maxEditLength: MAX_EDITS, timeout: MAX_MS };
  const pieces = diffArrays(
    old.slice(within.old.start, within.old.end),
    now.slice(within.now.start, within.now.end),
    bounds,
  );
  if (pieces === undefined) return undefined;
  const edits: Edit[] = [];
  let edit = { old: emptyAt(within.old.start), now: emptyAt(within.now.start) };
  for (const { count, added, removed } of pieces) {
    if (removed) edit.old.end += count;
    else if (added) edit.now.end += count;
    else {
      edits.push(edit);
      edit = { old: emptyAt(edit.old.end + count), now: emptyAt(edit.now.end + count) };
    }
  }
  return [...edits, edit].filter((one) => !isEmpty(one.old) || !isEmpty(one.now));
}

function emptyAt(start: number): Range {
  return { start, end: start };
}

function isEmpty({ start, end }: Range): boolean {
  return start === end;
}

/** Those that are so near that what stands around them would meet. */
function groupsOf(edits: readonly Edit[]): Edit[][] {
  const groups: Edit[][] = [];
  for (const edit of edits) {
    const last = groups.at(-1);
    const between = edit.old.start - (last?.at(-1)?.old.end ?? Number.NEGATIVE_INFINITY);
    if (last && between <= 2 * CONTEXT) last.push(edit);
    else groups.push([edit]);
  }
  return groups;
}

function hunkOf(edits: readonly Edit[], old: readonly string[], now: readonly string[]): string {
  const [first, last] = [edits[0], edits.at(-1)];
  if (!first || !last) return '';
  const lead = Math.min(CONTEXT, first.old.start);
  const tail = Math.min(CONTEXT, old.length - last.old.end);
  const body = edits.map((edit, i) => {
    const from = i === 0 ? first.old.start - lead : (edits[i - 1]?.old.end ?? 0);
    return [
      marked(' ', old.slice(from, edit.old.start)),
      marked('-', old.slice(edit.old.start, edit.old.end)),
      marked('+', now.slice(edit.now.start, edit.now.end)),
    ].join('');
  });
  const oldRange = rangeText(first.old.start - lead, last.old.end + tail);
  const newRange = rangeText(first.now.start - lead, last.now.end + tail);
  const rest = marked(' ', old.slice(last.old.end, last.old.end + tail));
  return `@@ -${oldRange} +${newRange} @@\n${body.join('')}${rest}`;
}

function marked(mark: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `${mark}${lines.join(`\n${mark}`)}\n`;
}

/** Lines count from 1; of none, the place is that of the line before. */
function rangeText(start: number, end: number): string {
  const count = end - start;
  return count === 1 ? String(start + 1) : `${count === 0 ? start : start + 1},${count}`;
}
