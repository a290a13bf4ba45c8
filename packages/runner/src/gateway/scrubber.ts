/**
 * Takes the literals of secrets out of a reply, even where one is cut across chunks (I7). Holds back at most as many
 * bytes as could be the beginning of one, so that a stream stays a stream.
 */
const MASK = '[removed by Atoll]';
const MASK_BYTES = Buffer.from(MASK);
const NOTHING = Buffer.alloc(0);

export type Scrubber = {
  /** What may go on of a reply, now that this came. */
  pass(chunk: Buffer): Buffer;
  /** What was held back, now that nothing more comes. */
  rest(): Buffer;
  /** Their names in lower case, as Node has them. */
  headers(headers: Record<string, string | string[]>): Record<string, string | string[]>;
};

export function createScrubber(secrets: readonly string[]): Scrubber {
  const literals = spellings(secrets);
  const needles = literals.map((literal) => Buffer.from(literal));
  let held: Buffer = NOTHING;

  /** Where what could be the beginning of a secret begins; the end, if nothing could. */
  const openAt = (bytes: Buffer, from: number) =>
    Math.min(...needles.map((needle) => beginsAt(bytes, needle, from)), bytes.length);

  function pass(chunk: Buffer): Buffer {
    const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    let open = openAt(bytes, 0);
    const parts: Buffer[] = [];
    let done = 0;
    if (needles.some((needle) => bytes.includes(needle)))
      for (const { index, 0: found } of bytes.toString('latin1').matchAll(patternOf(needles))) {
        // A longer secret may begin here, or before.
        if (index >= open) break;
        parts.push(bytes.subarray(done, index), MASK_BYTES);
        done = index + found.length;
        if (done > open) open = openAt(bytes, done);
      }
    held = open === bytes.length ? NOTHING : Buffer.from(bytes.subarray(open));
    return parts.length === 0
      ? bytes.subarray(0, open)
      : Buffer.concat([...parts, bytes.subarray(done, open)]);
  }

  const clean = (value: string) =>
    literals.reduce((text, literal) => text.replaceAll(literal, () => MASK), value);
  return {
    pass,
    rest: () =>
      held.length === 0
        ? held
        : Buffer.from(held.toString('latin1').replaceAll(patternOf(needles), MASK), 'latin1'),
    headers: (headers) =>
      Object.fromEntries(
        Object.entries(headers)
          .filter(([name]) => !literals.some((literal) => name.includes(literal.toLowerCase())))
          .map(([name, value]) => [name, Array.isArray(value) ? value.map(clean) : clean(value)]),
      ),
  };
}

/**
 * As they are, as JSON writes them (some escape slashes), as URLs do, and base64 also without its end; long ones first,
 * since a short one may be a part of them.
 */
function spellings(secrets: readonly string[]): string[] {
  const all = secrets.flatMap((secret) => {
    const json = JSON.stringify(secret).slice(1, -1);
    const url = encodeURIComponent(secret);
    const lowerUrl = url.replace(/%../g, (code) => code.toLowerCase());
    return [secret, secret.replace(/=+$/, ''), json, json.replaceAll('/', '\\/'), url, lowerUrl];
  });
  return [...new Set(all)].filter((each) => each !== '').sort((a, b) => b.length - a.length);
}

/** Of any of them, byte for byte; of those that begin alike, the longest. */
function patternOf(needles: readonly Buffer[]): RegExp {
  const sources = needles.map((needle) => needle.toString('latin1').replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(sources.length === 0 ? '(?!)' : sources.join('|'), 'g');
}

/** Where at the end, from `from` on, the beginning of the needle stands; Infinity if nowhere. */
function beginsAt(bytes: Buffer, needle: Buffer, from: number): number {
  const first = needle[0] ?? 0;
  let at = bytes.indexOf(first, Math.max(from, bytes.length - needle.length + 1));
  while (at !== -1) {
    if (needle.compare(bytes, at, bytes.length, 0, bytes.length - at) === 0) return at;
    at = bytes.indexOf(first, at + 1);
  }
  return Number.POSITIVE_INFINITY;
}
