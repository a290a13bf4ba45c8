/**
 * Runners in other processes: their registrations, and what becomes of sessions and sandboxes when one comes, leaves or
 * is lost. Loaded when the first of them registers.
 */
import type { SandboxEnded } from '@atoll/protocol/runner-link';
import type { Logger } from './logger.ts';
import { createHttpLink } from './runners/http-link.ts';
import { createRegistrations, type Registrations } from './runners/registrations.ts';
import type { RunnerRegistry } from './runners/registry.ts';
import type { RemoteLink } from './runners/remote-link.ts';
import type { Sandboxes } from './sandboxes/sandboxes.ts';
import type { Sessions } from './sessions/sessions.ts';

export type Fleet = Pick<Registrations, 'register' | 'heartbeat' | 'deregister'> & { close(): void };

const EXPIRE_MS = 1_000;

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
  const registrations = createRegistrations({
    runners,
    now,
    clock: () => uptime() * 1000,
    connect: ({ runnerId, address, callbackToken: token }) => createHttpLink({ runnerId, address, token }),
    heldBy: async (runnerId) => (await sandboxes.readyOn(runnerId)).length,
    onRegistered(runnerId, link) {
      logger.info({ runnerId }, 'a runner registered');
      reconcile(runnerId, link).catch((err) =>
        logger.warn({ runnerId, err }, 'what a runner holds could not be looked at'),
      );
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

  /** Ends there what nobody here wants any more, and here what is no longer there. */
  async function reconcile(runnerId: string, link: RemoteLink): Promise<void> {
    const wanted = await sandboxes.readyOn(runnerId);
    const there = await link.inventory();
    for (const { id, epoch } of wanted)
      if (!there.some((held) => held.id === id && held.epoch === epoch && held.status !== 'ended')) {
        const detail = 'The runner came back without this sandbox.';
        await tellEnded(runnerId, { sandboxId: id, epoch, cause: 'runner_lost', detail });
      }
    for (const held of there) {
      if (
        sessions.holds(runnerId, held) ||
        wanted.some(({ id, epoch }) => id === held.id && epoch === held.epoch)
      )
        continue;
      const { id: sandboxId, sessionId: workspaceId = sandboxId, epoch } = held;
      await link.deleteSandbox({ sandboxId, workspaceId, epoch, cause: 'ended', keep: true });
    }
    await sessions.sweepRunner(runnerId);
  }

  return {
    ...registrations,
    close() {
      clearInterval(timer);
      registrations.close();
    },
  };
}
