/** A line of the table: one measure of ours beside its floor, and what it must reach. */
import type { Figure } from './pairs.ts';

export type Unit = 'events/s' | '/s' | 'ms' | 'MB' | 'MB/s' | 'KB' | 'µs' | '%';

export type Row = {
  name: string;
  unit: Unit;
  ours: number;
  /** What it is held against, measured in the same run. */
  floor: number | undefined;
  ratio: number | undefined;
  bar: Goal | undefined;
  aim: Goal | undefined;
};

export type Goal = { text: string; isMet: (row: Row) => boolean };

/** Takes so many pairs; in a quick run also fewer repetitions inside of one. */
export type Scale = { pairs: number; quick: boolean };

export type Measure = { name: string; what: string; take(scale: Scale): Promise<Row[]> };

export function row(
  name: string,
  unit: Unit,
  figure: Partial<Figure> & { ours: number },
  goals: { bar?: Goal; aim?: Goal } = {},
): Row {
  const { ours, floor, ratio } = figure;
  return { name, unit, ours, floor, ratio, bar: goals.bar, aim: goals.aim };
}

/** Of the ratio. */
export function atMost(times: number): Goal {
  return { text: `≤ ${times} ×`, isMet: ({ ratio }) => ratio !== undefined && ratio <= times };
}

export function atLeast(times: number): Goal {
  return { text: `≥ ${times} ×`, isMet: ({ ratio }) => ratio !== undefined && ratio >= times };
}

export function either(absolute: { atMostMs: number }, relative: Goal): Goal {
  return {
    text: `≤ ${absolute.atMostMs} ms or ${relative.text}`,
    isMet: (of) => of.ours <= absolute.atMostMs || relative.isMet(of),
  };
}

export function within(most: number, unit: Unit = 'ms'): Goal {
  return { text: `≤ ${most} ${unit}`, isMet: ({ ours }) => ours <= most };
}

/** Of what there is to be much of. */
export function noLess(than: number, unit: Unit): Goal {
  return { text: `≥ ${than}${unit}`, isMet: ({ ours }) => ours >= than };
}

export function both(one: Goal, other: Goal): Goal {
  return { text: `${one.text} and ${other.text}`, isMet: (of) => one.isMet(of) && other.isMet(of) };
}

/** Above the floor. */
export function atMostMore(more: number, unit: Unit): Goal {
  return {
    text: `≤ +${more} ${unit}`,
    isMet: ({ ours, floor }) => floor !== undefined && ours - floor <= more,
  };
}
