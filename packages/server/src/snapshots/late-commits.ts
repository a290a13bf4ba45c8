/**
 * Rows that nobody waits for: written together, a moment late, so that they stay out of the way of those that somebody
 * does wait for. Who needs them now says so.
 */
import type { Step, Store } from '../store/store.ts';

export type LateCommits = {
  /** Resolves when it is durable. */
  commit(...steps: readonly Step[]): Promise<void>;
  /** What comes until that settles is committed at once, and what waits already. */
  hurry<T>(until: Promise<T>): Promise<T>;
};

const LATE_MS = 100;

export function createLateCommits(store: Pick<Store, 'commit'>): LateCommits {
  let waiting: { steps: readonly Step[]; settle: PromiseWithResolvers<void> }[] = [];
  let timer: NodeJS.Timeout | undefined;
  let hurried = 0;

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    const units = waiting;
    waiting = [];
    if (units.length === 0) return;
    const settles = units.map(({ settle }) => settle);
    store.commit(units.flatMap(({ steps }) => steps)).then(
      () => {
        for (const { resolve } of settles) resolve();
      },
      (error: unknown) => {
        for (const { reject } of settles) reject(error);
      },
    );
  }

  return {
    commit(...steps) {
      const settle = Promise.withResolvers<void>();
      waiting.push({ steps, settle });
      if (hurried > 0) flush();
      else timer ??= setTimeout(flush, LATE_MS);
      return settle.promise;
    },
    async hurry(until) {
      hurried++;
      flush();
      return until.finally(() => {
        hurried--;
      });
    },
  };
}
