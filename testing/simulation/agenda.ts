/**
 * Simulated time: what is to happen, in the order of its moments. Each step belongs to a life, which is one incarnation
 * of a node: with a life that ended its steps are gone, and those of a machine that stands still wait till it goes on.
 *
 * A step runs until nothing is left to be done at once: promises, ticks. No real time, thread or socket has a part in
 * that, so the same steps are the same run.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** As they are outside of a simulation. */
const realImmediate = setImmediate;

/** `suspended`: for how many reasons it stands still. */
export type Life = { readonly node: string; alive: boolean; suspended: number };

type Step = { at: number; order: number; life: Life; run: () => void; cancelled: boolean };

type Enter = <T>(run: () => T) => T;

export type Cancel = () => void;

export type Agenda = {
  /** Milliseconds since the simulation began. */
  readonly now: number;
  newLife(node: string): Life;
  /** Runs in that life, `ms` from now. */
  after(ms: number, life: Life, run: () => void): Cancel;
  /** The life that the running step belongs to. */
  readonly life: Life;
  /** Runs at once what `run` does, in that life. */
  inside<T>(life: Life, run: () => T): T;
  suspend(life: Life): void;
  wake(life: Life): void;
  /** Goes on until that moment, or until `done`. */
  runUntil(ms: number, done?: () => boolean): Promise<void>;
  /** How many steps there were. */
  readonly steps: number;
};

export function createAgenda(): Agenda {
  const lives = new AsyncLocalStorage<Life>();
  /** What runs a step in its life: made once for each, which costs less than to enter it anew each time. */
  const entrances = new WeakMap<Life, Enter>();
  const heap = createHeap();
  const waiting = new Map<Life, Step[]>();
  const outside: Life = { node: 'world', alive: true, suspended: 0 };
  let now = 0;
  let order = 0;
  let steps = 0;

  function after(ms: number, life: Life, run: () => void): Cancel {
    const step = { at: now + Math.max(0, ms), order: order++, life, run, cancelled: false };
    heap.push(step);
    return () => {
      step.cancelled = true;
    };
  }

  function inside<T>(life: Life, run: () => T): T {
    let enter = entrances.get(life);
    if (enter === undefined) {
      enter = lives.run(life, () => AsyncLocalStorage.snapshot());
      entrances.set(life, enter);
    }
    return enter(run);
  }

  function take(step: Step): boolean {
    if (step.cancelled || !step.life.alive) return false;
    const held = waiting.get(step.life);
    held?.push(step);
    return held === undefined;
  }

  return {
    get now() {
      return now;
    },
    get steps() {
      return steps;
    },
    get life() {
      return lives.getStore() ?? outside;
    },
    newLife: (node) => ({ node, alive: true, suspended: 0 }),
    after,
    inside,
    suspend(life) {
      life.suspended++;
      if (!waiting.has(life)) waiting.set(life, []);
    },
    wake(life) {
      if (--life.suspended > 0) return;
      const held = waiting.get(life) ?? [];
      waiting.delete(life);
      for (const step of held) heap.push(Object.assign(step, { at: now, order: order++ }));
    },
    async runUntil(ms, done = () => false) {
      while (!done()) {
        const step = heap.first();
        if (step === undefined || step.at > ms) break;
        heap.pop();
        if (!take(step)) continue;
        now = step.at;
        steps++;
        inside(step.life, step.run);
        await settled();
      }
      if (!done()) now = Math.max(now, ms);
    },
  };
}

/** By then every promise and tick has had its turn. */
function settled(): Promise<void> {
  return new Promise((resolve) => realImmediate(resolve));
}

function createHeap() {
  const steps: Step[] = [];
  const before = (a: Step, b: Step) => a.at < b.at || (a.at === b.at && a.order < b.order);

  function swapUp(from: number, step: Step): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = steps[parent];
      if (above === undefined || !before(step, above)) break;
      steps[at] = above;
      at = parent;
    }
    steps[at] = step;
  }

  function sink(step: Step): void {
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const [a, b] = [steps[left], steps[left + 1]];
      if (a === undefined) break;
      const [child, index] = b !== undefined && before(b, a) ? [b, left + 1] : [a, left];
      if (!before(child, step)) break;
      steps[at] = child;
      at = index;
    }
    steps[at] = step;
  }

  return {
    first: () => steps[0],
    push(step: Step): void {
      steps.push(step);
      swapUp(steps.length - 1, step);
    },
    pop(): void {
      const last = steps.pop();
      if (last !== undefined && steps.length > 0) sink(last);
    },
  };
}
