/**
 * What a snapshot leaves out: caches that their programs fill again, and what the workspace's `.atollignore` says.
 * Nothing here ever names `.git` or a lock file.
 *
 * A line of `.atollignore` is a pattern; `#` begins a comment. `*` and `?` stand for characters of one name. With a
 * slash at its beginning or inside, it is a path from the workspace on; without one it fits at any depth. With a slash
 * at its end it fits directories only.
 */
export type Excludes = (path: string, isDirectory: boolean) => boolean;

export const IGNORE_FILE = '.atollignore';
/** Of that file, what is read. */
export const MAX_IGNORE_BYTES = 64 * 1024;

/** In the home, from its top; and in both, wherever they are. Directories. */
const homeCaches = ['home/.cache', 'home/.npm/_cacache', 'home/.npm/_logs', 'home/.bun/install/cache'];
const caches = new Set(['__pycache__', '.pytest_cache', '.mypy_cache', '.ruff_cache']);
const MAX_PATTERNS = 500;

type Pattern = { names: readonly string[]; anchored: boolean; directoryOnly: boolean };

/** `text` has one character per byte, as paths have. */
export function createExcludes(text: string): Excludes {
  const patterns = parse(text);
  return (path, isDirectory) => {
    const names = path.split('/');
    if (isDirectory && isCache(path, names)) return true;
    if (names[0] !== 'workspace') return false;
    const below = names.slice(1);
    return patterns.some((pattern) => (isDirectory || !pattern.directoryOnly) && fits(pattern, below));
  };
}

function isCache(path: string, names: readonly string[]): boolean {
  const [parent, name] = [names.at(-2), names.at(-1) ?? ''];
  return caches.has(name) || (parent === 'node_modules' && name === '.cache') || homeCaches.includes(path);
}

function parse(text: string): Pattern[] {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const patterns = lines.filter((line) => line !== '' && !line.startsWith('#')).slice(0, MAX_PATTERNS);
  return patterns.flatMap((line) => {
    const directoryOnly = line.endsWith('/');
    const bare = directoryOnly ? line.slice(0, -1) : line;
    const names = bare.replace(/^\//, '').split('/');
    if (names.includes('')) return [];
    return [{ names, anchored: bare.includes('/'), directoryOnly }];
  });
}

function fits({ names, anchored }: Pattern, path: readonly string[]): boolean {
  if (!anchored) return nameFits(names[0] ?? '', path.at(-1) ?? '');
  return names.length === path.length && names.every((name, i) => nameFits(name, path[i] ?? ''));
}

/** Goes back to the last `*` only, so its cost is bounded by the product of the lengths, whatever the pattern. */
export function nameFits(pattern: string, name: string): boolean {
  let [p, n, star, mark] = [0, 0, -1, 0];
  while (n < name.length) {
    if (p < pattern.length && pattern[p] !== '*' && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++;
      n++;
    } else if (pattern[p] === '*') {
      star = p++;
      mark = n;
    } else if (star >= 0) {
      p = star + 1;
      n = ++mark;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
