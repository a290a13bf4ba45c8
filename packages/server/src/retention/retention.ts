/**
 * What goes when it is old. In the background, in small steps: each is a commit of few rows, done whole or not at all, and
 * what is left to do is seen from the rows, so a crash at any point is followed by going on. After each step there is a
 * rest of several times as long, so that turns hardly wait for the writer.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { Log } from '../log/log.ts';
import type { Logger } from '../logger.ts';
import type { Retiring } from '../sessions/retiring.ts';
import type { Store } from '../store/store.ts';

/** How old what may become; undefined: it stays. */
export type RetentionSettings = {
  /** Paused sessions, until they are ended. */
  endPausedMs?: number | undefined;
  /** Sessions that ended. */
  keepSessionsMs?: number | undefined;
  /** Snapshots, until one a day is left; and until none is left but the latest. */
  thinSnapshotsMs?: number | undefined;
  keepSnapshotsMs?: number | undefined;
  /** Rows of sandboxes that ended, and of their jobs. */
  keepSandboxesMs?: number | undefined;
  /** Partial messages of turns that completed. */
  compactPartialsMs?: number | undefined;
};

/** How much of what went, since the start. */
export const retired = {
  sessionsEnded: 'Paused sessions that were ended because nobody used them.',
  sessionsErased: 'Sessions that ended long ago and were erased.',
  snapshotsRemoved: 'Snapshots that were thinned out.',
  rowsRemoved: 'Rows of old sandboxes and jobs that were removed.',
  eventsCompacted: 'Partial messages that were compacted.',
} as const;
export type Retired = Record<keyof typeof retired, number>;

export type Retention = {
  readonly retired: Readonly<Retired>;
  /** Resolves when the step that is under way is done. */
  stop(): Promise<void>;
};

type Step = () => Promise<{ done: number; more: boolean }>;
type Task = { counts: keyof Retired | undefined; step: Step };

const MAX_PERIOD_MS = 60_000;
const MIN_PERIOD_MS = 1_000;
const MIN_REST_MS = 5;
const REST = 10;
const DAY_MS = 24 * 60 * 60_000;

export function createRetention(options: {
  settings: RetentionSettings;
  store: Store;
  log: Log;
  sessions: Pick<Retiring, 'endPaused' | 'eraseEnded'>;
  logger: Logger;
  now: () => number;
}): Retention {
  const { settings, logger } = options;
  const counted: Retired = {
    sessionsEnded: 0,
    sessionsErased: 0,
    snapshotsRemoved: 0,
    rowsRemoved: 0,
    eventsCompacted: 0,
  };
  const stopping = new AbortController();
  const running = run();

  async function run(): Promise<void> {
    const periodMs = periodOf(settings);
    let tasks: readonly Task[] | undefined;
    while (await pause(periodMs)) {
      tasks ??= await tasksOf(options).catch((err) => {
        logger.warn({ err }, 'what is old cannot go yet; it will be tried again');
        return undefined;
      });
      if (tasks === undefined) continue;
      const before = { ...counted };
      for (const task of tasks) await perform(task);
      const went = Object.entries(counted).filter(([name, count]) => count > before[name as keyof Retired]);
      const news = Object.fromEntries(
        went.map(([name, count]) => [name, count - before[name as keyof Retired]]),
      );
      if (went.length > 0) logger.info(news, 'what was old went');
    }
  }

  async function perform({ counts, step }: Task): Promise<void> {
    for (let more = true; more && !stopping.signal.aborted; ) {
      const begun = performance.now();
      try {
        const did = await step();
        if (counts !== undefined) counted[counts] += did.done;
        more = did.more;
      } catch (err) {
        // Forked meanwhile: the next round finds it as it is then.
        const passed = err instanceof AtollError && err.code === 'illegal_transition';
        if (!passed) logger.warn({ task: counts, err }, 'what is old could not go; it will be tried again');
        return;
      }
      if (more) await pause(Math.max(MIN_REST_MS, REST * (performance.now() - begun)));
    }
  }

  /** False when it is to stop. */
  async function pause(ms: number): Promise<boolean> {
    const { signal } = stopping;
    await delay(ms, undefined, { ref: false, signal }).catch(() => undefined);
    return !signal.aborted;
  }

  return {
    retired: counted,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** Every minute, or more often where less is asked for. */
function periodOf(settings: RetentionSettings): number {
  const shortest = Math.min(...Object.values(settings).map((ms) => ms ?? Number.POSITIVE_INFINITY));
  return Math.min(MAX_PERIOD_MS, Math.max(MIN_PERIOD_MS, shortest / 10));
}

/** What is not asked for is not even loaded. Logs that were erased are looked after in any case. */
async function tasksOf({
  settings,
  store,
  log,
  sessions,
  now,
}: Parameters<typeof createRetention>[0]): Promise<Task[]> {
  const { endPausedMs, keepSessionsMs, thinSnapshotsMs: thinMs, keepSnapshotsMs: keepMs } = settings;
  const { keepSandboxesMs, compactPartialsMs } = settings;
  const before = (ms: number) => new Date(now() - ms).toISOString();
  const each = async (went: Promise<boolean>) => ((await went) ? one : none);
  const tasks: Task[] = [];
  if (endPausedMs !== undefined) {
    const detail = `Nobody used it for ${lengthText(endPausedMs)} while it was paused.`;
    const step = () => each(sessions.endPaused(before(endPausedMs), detail));
    tasks.push({ counts: 'sessionsEnded', step });
  }
  if (keepSessionsMs !== undefined)
    tasks.push({ counts: 'sessionsErased', step: () => each(sessions.eraseEnded(before(keepSessionsMs))) });
  tasks.push({ counts: undefined, step: () => each(log.sweep()) });
  if (thinMs !== undefined || keepMs !== undefined) {
    const { createThinning } = await import('../snapshots/thinning.ts');
    tasks.push({ counts: 'snapshotsRemoved', step: createThinning({ store, now, thinMs, keepMs }).step });
  }
  if (keepSandboxesMs !== undefined) {
    const { removeOldRows } = await import('./old-rows.ts');
    const step = async () => {
      const done = await removeOldRows(store, now() - keepSandboxesMs);
      return { done, more: done > 0 };
    };
    tasks.push({ counts: 'rowsRemoved', step });
  }
  if (compactPartialsMs !== undefined) {
    const { createOldPartials } = await import('./old-partials.ts');
    const partials = createOldPartials({ store, log });
    tasks.push({ counts: 'eventsCompacted', step: () => partials.step(before(compactPartialsMs)) });
  }
  return tasks;
}

const one = { done: 1, more: true };
const none = { done: 0, more: false };

function lengthText(ms: number): string {
  if (ms >= 2 * DAY_MS) return `${Math.round(ms / DAY_MS)} days`;
  return ms >= 120_000 ? `${Math.round(ms / 60_000)} minutes` : `${Math.round(ms / 1000)} seconds`;
}
