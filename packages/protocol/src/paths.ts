import { AtollError } from './errors.ts';

/**
 * The paths of files in a workspace or an agent folder: relative, with `/`, one spelling for each file. Whether a
 * path stays inside is not a matter of syntax but of links, and is decided where the files are.
 */
export const maxPathBytes = 1024;
export const maxPathSegments = 32;

/** The segments of a path; AtollError `invalid_path` when it is none. */
export function checkPath(path: string): string[] {
  const segments = path.split('/');
  const fault = faultOf(path, segments);
  if (fault) throw new AtollError('invalid_path', `${fault}: ${JSON.stringify(path.slice(0, 100))}.`);
  return segments;
}

function faultOf(path: string, segments: readonly string[]): string | undefined {
  if (path === '') return 'A path may not be empty';
  if (path.startsWith('/')) return 'A path may not be absolute';
  if (path.includes('\\')) return 'A path may not hold a backslash';
  if (path.includes('\0')) return 'A path may not hold a NUL';
  if (!path.isWellFormed()) return 'A path must be well-formed Unicode';
  if (segments.includes('')) return 'A path may not have an empty segment';
  if (segments.includes('.') || segments.includes('..')) return 'A path may not have a dot segment';
  if (segments.length > maxPathSegments) return `A path may have ${maxPathSegments} segments`;
  if (new TextEncoder().encode(path).length > maxPathBytes) return `A path may have ${maxPathBytes} bytes`;
  return undefined;
}
