/**
 * How figures are taken on a machine that is never quite quiet: ours and the floor alternate, each pair gives one
 * ratio, and the figure is the median of the ratios, never the ratio of two sums taken minutes apart.
 */

export type Pair<T> = { ours: T; floor: T };
export type Figure = { ours: number; floor: number; ratio: number };

/** Takes `count` pairs; who goes first alternates too. */
export async function takePairs<T>(
  count: number,
  ours: () => Promise<T>,
  floor: () => Promise<T>,
): Promise<Pair<T>[]> {
  const pairs: Pair<T>[] = [];
  for (let i = 0; i < count; i++) {
    if (i % 2 === 0) pairs.push({ ours: await ours(), floor: await floor() });
    else {
      const before = await floor();
      pairs.push({ ours: await ours(), floor: before });
    }
  }
  return pairs;
}

const BLOCK = 20;

/** So many of each, in alternating blocks: a moment in which the machine is slow is in both. */
export async function takeBlocks<T>(
  times: number,
  ours: () => Promise<T>,
  floor: () => Promise<T>,
): Promise<Pair<T[]>> {
  const all: Pair<T[]> = { ours: [], floor: [] };
  for (let taken = 0; taken < times; taken += BLOCK) {
    for (let i = 0; i < BLOCK; i++) all.ours.push(await ours());
    for (let i = 0; i < BLOCK; i++) all.floor.push(await floor());
  }
  return all;
}

export function figureOf<T>(pairs: readonly Pair<T>[], pick: (value: T) => number): Figure {
  return {
    ours: median(pairs.map(({ ours }) => pick(ours))),
    floor: median(pairs.map(({ floor }) => pick(floor))),
    ratio: median(pairs.map(({ ours, floor }) => pick(ours) / pick(floor))),
  };
}

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** The nearest rank; of an even number of values the median is the lower of the middle two. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

/** How long it took, in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
