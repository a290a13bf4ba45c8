/**
 * Sandboxes made ahead of their sessions: so many for the latest version of an agent as its `prewarm` says. Each is one
 * tenant's, holds a reserved place, and is given away once, with the id that its session then has; so nothing in it has
 * to be renamed. What it cannot be for a session that comes, a new sandbox is.
 *
 * It is filled in the background, one after the other, with as long a rest after each as it took, and not while sessions
 * take from it or have sandboxes made (`pace.ts`). Whoever needs a place gets that of a warm one first.
 */
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import type { ClaimSandbox } from '@atoll/protocol/runner-link';
import type { Agents, AgentVersion } from '../agents/agents.ts';
import type { Logger } from '../logger.ts';
import type { RunnerRegistry } from '../runners/registry.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { Store } from '../store/store.ts';
import { createPace } from './pace.ts';
import { FIRST_EPOCH, type WarmSandbox } from './sandboxes.ts';
import { type SessionSettings, sandboxSettings } from './settings.ts';

export type WarmPool = {
  /** Reads which agents want some, and goes on from there by itself. */
  start(): Promise<void>;
  /**
   * One that fits and has been told what its session has of its own; the caller's from then on, with its reserved place.
   * undefined: there is none, or it was of no use and is gone.
   */
  claim(wanted: Wanted, told: Told): Promise<WarmSandbox | undefined>;
  /** Ends one that was claimed and did not come to be a session's, and gives its place back. */
  discard(sandbox: WarmSandbox): Promise<void>;
  /** Ends one on that runner and gives its place back; false when there is none. */
  giveWay(runnerId: string): Promise<boolean>;
  /** Until the function that it returns is called, a sandbox is made for somebody who waits. */
  busy(): () => void;
  /** The agent has a new version, or is gone. */
  agentChanged(tenant: string, agent: string): void;
  /** Nothing happens when it was none of that runner's. */
  sandboxEnded(runnerId: string, sandboxId: string): void;
  readonly size: number;
  stop(): Promise<void>;
};

export type Wanted = { tenant: string; agent: string; version: number; own: SessionSettings };

/** See RunnerLink.claimSandbox. */
export type Told = Pick<ClaimSandbox, 'executor' | 'env' | 'traceparent'>;

type Key = { tenant: string; agent: string };
type Line = Key & {
  version: AgentVersion;
  /** The one that waits longest first. */
  ready: WarmSandbox[];
  /** Of late: how many could not be made, or ended before anybody had a use for them. */
  failures: number;
  failedAt: number;
  notBefore: number;
};

/**
 * Nobody took one, or had one made, for so long before the next is made, which leaves the machine to the first turn of
 * what was taken; a flow holds it up no longer than `MAX_HOLD_MS`.
 */
const QUIET_MS = 500;
const MAX_HOLD_MS = 2_000;
/** Until it is looked whether a place has become free, and after a failure, doubling. */
const AGAIN_MS = 1_000;
const MAX_AGAIN_MS = 60_000;
/** After so long without a failure it counts from one again. */
const FORGOTTEN_MS = 2 * MAX_AGAIN_MS;

export function createWarmPool(options: {
  store: Pick<Store, 'commit'>;
  runners: Pick<RunnerRegistry, 'link' | 'reserve' | 'release'>;
  scheduler: Pick<Scheduler, 'place'>;
  agents: Pick<Agents, 'version' | 'prewarmed'>;
  logger: Logger;
}): WarmPool {
  const { store, runners, scheduler, agents, logger } = options;
  const lines = new Map<string, Line>();
  const pace = createPace({ quietMs: QUIET_MS, maxHoldMs: MAX_HOLD_MS });
  let filling: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stopping = false;

  /** Looks again after `ms`, or earlier if that was asked for. */
  function wake(ms: number): void {
    if (stopping) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      filling ??= fillOne()
        .catch((err) => {
          logger.error({ err }, 'the warm pool could not be looked after');
          return AGAIN_MS;
        })
        .then((again) => {
          filling = undefined;
          if (again !== undefined) wake(again);
        });
    }, ms);
    timer.unref();
  }

  /** Makes one more where one is missing. Resolves with when to look again; undefined: not before something changes. */
  async function fillOne(): Promise<number | undefined> {
    const now = performance.now();
    const short = [...lines.values()].filter(({ version, ready }) => ready.length < wantedOf(version));
    if (short.length === 0) return undefined;
    const due = short.filter(({ notBefore }) => notBefore <= now);
    const next = due.sort((a, b) => fullness(a) - fullness(b))[0];
    if (!next) return Math.min(...short.map(({ notBefore }) => notBefore)) - now;
    const waitMs = pace.waitMs();
    if (waitMs > 0) return waitMs;
    return (await makeFor(next)) ? performance.now() - now : AGAIN_MS;
  }

  /** Twice as long till the next one with each of late. */
  function failed(line: Line): void {
    const now = performance.now();
    if (now - line.failedAt > FORGOTTEN_MS) line.failures = 0;
    line.failures++;
    line.failedAt = now;
    line.notBefore = now + Math.min(AGAIN_MS * 2 ** line.failures, MAX_AGAIN_MS);
  }

  /** False when there is no place for it, or it could not be made. */
  async function makeFor(line: Line): Promise<boolean> {
    const { tenant, agent, version } = line;
    const sandbox = { sandboxId: newId('sandbox'), sessionId: newId('session') };
    let made: WarmSandbox | undefined;
    try {
      const settings = sandboxSettings(version.manifestHash, version.settings, {});
      const where = { tenant, demands: settings.demands, preferred: null };
      const { runner, settled } = await scheduler.place(where);
      const { id: runnerId, link } = runner;
      await store.commit([runners.reserve(runnerId)]).finally(settled);
      made = { ...sandbox, runnerId };
      const { demands: _, budget, ...wanted } = settings;
      await link.createSandbox({
        jobId: newId('job'),
        epoch: FIRST_EPOCH,
        sandbox: {
          id: made.sandboxId,
          sessionId: made.sessionId,
          tenant,
          workspaceId: made.sessionId,
          fresh: true,
          parked: true,
          ...wanted,
          ...(Object.keys(budget).length === 0 ? {} : { budget }),
        },
      });
    } catch (error) {
      if (made) await release(made);
      if (error instanceof AtollError && error.code === 'no_capacity') return false;
      failed(line);
      if (!stopping) logger.warn({ tenant, agent, err: error }, 'a warm sandbox could not be made');
      return true;
    }
    if (stopping || lines.get(keyOf(line)) !== line) await discard(made);
    else line.ready.push(made);
    return true;
  }

  function take({ tenant, agent, version, own }: Wanted): { line: Line; sandbox: WarmSandbox } | undefined {
    const line = lines.get(keyOf({ tenant, agent }));
    if (!line || line.version.version !== version || !fits(own)) return undefined;
    const sandbox = line.ready.shift();
    if (!sandbox) return undefined;
    wake(QUIET_MS);
    return { line, sandbox };
  }

  async function discard(sandbox: WarmSandbox): Promise<void> {
    const { sandboxId, sessionId: workspaceId, runnerId } = sandbox;
    try {
      const gone = { sandboxId, workspaceId, epoch: FIRST_EPOCH, cause: 'ended', keep: false };
      await runners.link(runnerId).deleteSandbox(gone);
    } catch (err) {
      logger.warn({ sandboxId, err }, 'a warm sandbox could not be ended');
    }
    await release(sandbox);
  }

  async function release({ runnerId }: WarmSandbox): Promise<void> {
    await store.commit([runners.release(runnerId)]);
  }

  /** What the agent's latest version wants now; what stands there for another one ends. */
  async function refresh({ tenant, agent }: Key): Promise<void> {
    const version = await agents.version(tenant, agent).catch((error: unknown) => {
      if (error instanceof AtollError && error.code === 'not_found') return undefined;
      throw error;
    });
    const key = keyOf({ tenant, agent });
    const before = lines.get(key);
    if (stopping || (version && before?.version.version === version.version)) return;
    lines.delete(key);
    if (version && wantedOf(version) > 0)
      lines.set(key, { tenant, agent, version, ready: [], failures: 0, failedAt: 0, notBefore: 0 });
    wake(0);
    await Promise.all((before?.ready.splice(0) ?? []).map(discard));
  }

  return {
    async start() {
      for (const key of await agents.prewarmed()) await refresh(key);
    },
    async claim(wanted, told) {
      const taken = take(wanted);
      if (!taken) return undefined;
      const { line, sandbox } = taken;
      const { sandboxId, runnerId } = sandbox;
      const done = pace.begin();
      try {
        await runners.link(runnerId).claimSandbox({ sandboxId, epoch: FIRST_EPOCH, ...told });
        return sandbox;
      } catch (err) {
        logger.warn({ sandboxId, err }, 'a warm sandbox could not be claimed');
        failed(line);
        await discard(sandbox);
        return undefined;
      } finally {
        done();
      }
    },
    discard,
    async giveWay(runnerId) {
      const fullest = [...lines.values()].sort((a, b) => b.ready.length - a.ready.length);
      for (const { ready } of fullest) {
        const at = ready.findIndex((sandbox) => sandbox.runnerId === runnerId);
        const [given] = at === -1 ? [] : ready.splice(at, 1);
        if (!given) continue;
        await discard(given);
        // Whoever asked for the place takes it before the next one is made.
        pace.begin()();
        wake(AGAIN_MS);
        return true;
      }
      return false;
    },
    busy: pace.begin,
    agentChanged(tenant, agent) {
      refresh({ tenant, agent }).catch((err) =>
        logger.error({ tenant, agent, err }, 'the warm sandboxes of an agent could not be looked after'),
      );
    },
    sandboxEnded(runnerId, sandboxId) {
      for (const line of lines.values()) {
        const at = line.ready.findIndex((held) => held.sandboxId === sandboxId && held.runnerId === runnerId);
        const [ended] = at === -1 ? [] : line.ready.splice(at, 1);
        if (!ended) continue;
        failed(line);
        // Its files go with its place.
        discard(ended).catch((err) => logger.error({ sandboxId, err }, 'a place could not be given back'));
        wake(AGAIN_MS);
      }
    },
    get size() {
      return [...lines.values()].reduce((sum, { ready }) => sum + ready.length, 0);
    },
    async stop() {
      stopping = true;
      clearTimeout(timer);
      const ready = [...lines.values()].flatMap((line) => line.ready.splice(0));
      lines.clear();
      await filling;
      await Promise.all(ready.map(discard));
    },
  };
}

/** Whose time runs from its start should not wait. */
function wantedOf({ settings }: AgentVersion): number {
  return (settings.limits.wallTimeMs ?? 0) > 0 ? 0 : (settings.prewarm ?? 0);
}

/** What a session asks for that a sandbox has to have from its start: where it runs. */
function fits({ demands }: SessionSettings): boolean {
  return demands === undefined;
}

function fullness({ version, ready }: Line): number {
  return ready.length / wantedOf(version);
}

function keyOf({ tenant, agent }: Key): string {
  return `${tenant}/${agent}`;
}
