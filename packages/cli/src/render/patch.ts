/**
 * What changed in a workspace as git writes it, so that `git apply` takes it: text, modes, symlinks. What that has no form
 * for is one line of words, which it skips.
 */
import { quotedPath } from '@atoll/protocol/quoted-path';
import type { EntryLooks, FileChange } from '@atoll/protocol/schemas/diff';
import type { Style } from '../terminal.ts';

/** The lines of one change. */
export function patchLines(change: FileChange): string[] {
  const { before, after, diff, omitted } = change;
  const [was, is] = [gitType(before), gitType(after)];
  const isOther = was !== is && was !== null && is !== null;
  if (omitted !== null || was === undefined || is === undefined || isOther) return [wordsFor(change)];
  const head = [`diff --git ${quotedPath(`a/${bytesOf(change)}`)} ${quotedPath(`b/${bytesOf(change)}`)}`];
  if (after === null) head.push(`deleted file mode ${gitMode(before)}`);
  else if (before === null) head.push(`new file mode ${gitMode(after)}`);
  else if (gitMode(before) !== gitMode(after))
    head.push(`old mode ${gitMode(before)}`, `new mode ${gitMode(after)}`);
  if (was === '120' || is === '120') return [...head, ...symlinkLines(change)];
  return [...head, ...(diff === null ? [] : diff.replace(/\n$/, '').split('\n'))];
}

/** undefined: git has no such thing, or cannot say it. `null` is nothing at all. */
function gitType(looks: EntryLooks | null): string | null | undefined {
  if (looks === null) return null;
  if (looks.type === 'file') return '100';
  return looks.type === 'symlink' && looks.targetBytes === null && !looks.target?.includes('\n')
    ? '120'
    : undefined;
}

function gitMode(looks: EntryLooks | null): string {
  return looks?.type === 'symlink' ? '120000' : `10${(looks?.mode ?? 0).toString(8).padStart(4, '0')}`;
}

/** For git, the content of a symlink is where it leads. */
function symlinkLines(change: FileChange): string[] {
  const { before, after } = change;
  const range = (looks: EntryLooks | null) => (looks === null ? '0,0' : '1');
  const line = (mark: string, looks: EntryLooks | null) =>
    looks === null ? [] : [`${mark}${looks.target}`, '\\ No newline at end of file'];
  const name = (prefix: string, looks: EntryLooks | null) =>
    looks === null ? '/dev/null' : quotedPath(`${prefix}/${bytesOf(change)}`);
  return [
    `--- ${name('a', before)}`,
    `+++ ${name('b', after)}`,
    `@@ -${range(before)} +${range(after)} @@`,
    ...line('-', before),
    ...line('+', after),
  ];
}

function wordsFor(change: FileChange): string {
  return `# ${quotedPath(bytesOf(change))} ${change.change}: ${inWords(change)}`;
}

/** What a change is, where its lines are not told. */
export function inWords({ before, after, omitted }: FileChange): string {
  const [was, is] = [before && said(before), after && said(after)];
  const why = omitted === null ? '' : omitted === 'binary' ? ' (binary)' : ' (too large for a diff)';
  const both = was !== null && is !== null && was !== is;
  return `${both ? `${was} → ${is}` : (is ?? was)}${why}`;
}

function said({ type, mode, sizeBytes, target }: EntryLooks): string {
  const bits = mode.toString(8).padStart(3, '0');
  if (type === 'symlink') return `symlink to ${target}`;
  if (type === 'directory') return `directory ${bits}`;
  return `${type === 'hardlink' ? `file ${bits}, another name of ${target}` : `file ${bits}`}, ${sizeBytes} bytes`;
}

/** One character per byte. */
function bytesOf({ path, pathBytes }: FileChange): string {
  if (pathBytes !== null) return atob(pathBytes);
  return String.fromCharCode(...new TextEncoder().encode(path));
}

/** Lines taken and put. */
export function countLines({ diff }: FileChange): { added: number; removed: number } {
  const lines = diff?.split('\n').slice(2) ?? [];
  const count = (mark: string) => lines.filter((line) => line.startsWith(mark)).length;
  return { added: count('+'), removed: count('-') };
}

export function colored(line: string, style: Style): string {
  if (/^(diff --git|---|\+\+\+|old mode|new |deleted )/.test(line)) return style.bold(line);
  if (line.startsWith('@@')) return style.cyan(line);
  if (line.startsWith('+')) return style.green(line);
  if (line.startsWith('-')) return style.red(line);
  return line.startsWith('#') || line.startsWith('\\') ? style.dim(line) : line;
}
