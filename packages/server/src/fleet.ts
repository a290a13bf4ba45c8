/**
 * Runners in other processes: their registrations, and what becomes of sessions and sandboxes when one comes, leaves or
 * is lost. Loaded when the first of them registers.
 */
import type { SandboxEnded, SandboxInventory } from '@atoll/protocol/runner-link';
import type { Logger } from './logger.ts';
import { rest } from './rest.ts';
import { createHttpLink } from './runners/http-link.ts';
import type { NewlyPlaced } from './runners/newly-placed.ts';
import { createRegistrations, type Registrations } from './runners/registrations.ts';
import type { RunnerRegistry } from './runners/registry.ts';
import type { RemoteLink } from './runners/remote-link.ts';
import type { Sandboxes } from './sandboxes/sandboxes.ts';
import type { Sessions } from './sessions/sessions.ts';

export type Fleet = Pick<Registrations, 'register' | 'heartbeat' | 'deregister'> & { close(): void };

const EXPIRE_MS = 1_000;
const AGAIN_MS = 1_000;
/** What was sent to a runner before it registered has arrived by then, if it ever does. */
const LATE_MS = 10_000;

export function createFleet(options: {
  runners: RunnerRegistry;
  sessions: Sessions;
  sandboxes: Sandboxes;
  logger: Logger;
  now: () => number;
  /** Seconds since this machine was started, those that it slept too. */
  uptime: () => number;
}): Fleet {
  const { runners, sessions, sandboxes, logger, now, uptime } = options;
  /** Of each link: settles when what its runner holds was compared, or it is not the runner's any more. */
  const looked = new WeakMap<RemoteLink, Promise<void>>();
  const registrations = createRegistrations({
    runners,
    now,
    clock: () => uptime() * 1000,
    connect: ({ runnerId, address, callbackToken: token }, doubted) =>
      createHttpLink({ runnerId, address, token, doubted }),
    heldBy: async (runnerId) => (await sandboxes.readyOn(runnerId)).length + sessions.awaitedOn(runnerId),
    onRegistered(runnerId, link, placed) {
      logger.info({ runnerId }, 'a runner registered');
      const looking = untilDone(link, () => reconcile(link, placed));
      looked.set(link, looking);
      void tellLooked(link);
      void looking.then(() => lookForLate(link, placed));
    },
    onAgain(runnerId, link) {
      logger.info({ runnerId }, 'a runner registered again: an answer to it was lost');
      void tellLooked(link);
    },
    async onLost(runnerId) {
      logger.warn({ runnerId }, 'a runner was lost');
      await Promise.all([sessions.onRunnerLost(runnerId), sandboxes.onRunnerLost(runnerId)]);
    },
    onSandboxEnded: tellEnded,
    onDraining(runnerId) {
      sessions
        .leaveRunner(runnerId)
        .catch((err) => logger.warn({ runnerId, err }, 'a runner could not be drained'));
    },
  });
  const timer = setInterval(() => {
    registrations.expire().catch((err) => logger.error({ err }, 'the loss of a runner was not recorded'));
  }, EXPIRE_MS);
  timer.unref();

  async function tellEnded(runnerId: string, ended: SandboxEnded): Promise<void> {
    sessions.onSandboxEnded(runnerId, ended);
    await sandboxes.onSandboxEnded(runnerId, ended);
  }

  const isThere = (link: RemoteLink) => runners.find(link.runnerId)?.link === link;

  /** Until it was looked through to the end, what a runner held without a lease stands still. */
  async function untilDone(link: RemoteLink, look: () => Promise<void>): Promise<void> {
    while (isThere(link)) {
      try {
        return await look();
      } catch (err) {
        const { runnerId } = link;
        logger.warn({ runnerId, err }, 'what a runner holds could not be looked at; it is tried again');
        await rest(AGAIN_MS);
      }
    }
  }

  /**
   * By its sweep, which comes last. No other sweep waits for the end of one: that may wait for what stands still, until
   * the runner hears of the next.
   */
  async function tellLooked(link: RemoteLink): Promise<void> {
    await looked.get(link);
    await untilDone(link, () => sessions.sweepRunner(link.runnerId));
  }

  /** Looks once more, for sandboxes that were asked for before it registered, and came up after it was looked through. */
  async function lookForLate(link: RemoteLink, placed: NewlyPlaced): Promise<void> {
    await rest(LATE_MS);
    try {
      if (isThere(link)) await removeLeftovers(link, await link.inventory(), placed);
    } catch (err) {
      const { runnerId } = link;
      logger.warn({ runnerId, err }, 'what came late to a runner could not be looked at');
    }
    placed.stop();
  }

  /** Ends there what nobody here wants any more, and here what is no longer there. */
  async function reconcile(link: RemoteLink, placed: NewlyPlaced): Promise<void> {
    const { runnerId } = link;
    const wanted = await sandboxes.readyOn(runnerId);
    const there = await link.inventory();
    for (const { id, epoch } of wanted)
      if (!there.some((held) => held.id === id && held.epoch === epoch && held.status !== 'ended')) {
        const detail = 'The runner came back without this sandbox.';
        await tellEnded(runnerId, { sandboxId: id, epoch, cause: 'runner_lost', detail });
      }
    await sessions.adopt(link, there);
    await removeLeftovers(link, there, placed);
  }

  async function removeLeftovers(
    link: RemoteLink,
    there: readonly SandboxInventory[],
    placed: NewlyPlaced,
  ): Promise<void> {
    const { runnerId } = link;
    const wanted = await sandboxes.readyOn(runnerId);
    const isWanted = (held: SandboxInventory) =>
      placed.has(held.id) ||
      sessions.holds(runnerId, held) ||
      wanted.some(({ id, epoch }) => id === held.id && epoch === held.epoch);
    for (const held of there) if (!isWanted(held)) await remove(link, held);
  }

  /** One that cannot be ended does not keep the others there. */
  async function remove(link: RemoteLink, { id, sessionId = id, epoch }: SandboxInventory): Promise<void> {
    try {
      await link.deleteSandbox({ sandboxId: id, workspaceId: sessionId, epoch, cause: 'ended', keep: true });
    } catch (err) {
      logger.warn({ runnerId: link.runnerId, sandboxId: id, err }, 'a leftover sandbox could not be ended');
    }
  }

  return {
    ...registrations,
    close() {
      clearInterval(timer);
      registrations.close();
    },
  };
}
