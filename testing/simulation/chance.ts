/** Numbers that look random and are the same for a seed. */
export type Chance = {
  /** From 0 (included) to 1 (excluded). */
  next(): number;
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number;
  /** True so often. */
  happens(share: number): boolean;
  pick<T>(of: readonly [T, ...T[]]): T;
  /** Fills and returns the array. */
  bytes<T extends Uint8Array>(into: T): T;
  /** Another sequence, which goes on as it does whatever is drawn from this one. */
  branch(): Chance;
};

export function createChance(seed: number): Chance {
  let state = seed >>> 0;

  /** Mulberry32: small, and good enough to choose what goes wrong when. */
  function word(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  const next = () => word() / 2 ** 32;
  const between = (low: number, high: number) => low + Math.floor(next() * (high - low + 1));
  return {
    next,
    between,
    happens: (share) => next() < share,
    pick: (of) => of[between(0, of.length - 1)] ?? of[0],
    bytes(into) {
      for (let i = 0; i < into.length; i++) into[i] = word() & 0xff;
      return into;
    },
    branch: () => createChance(word()),
  };
}
