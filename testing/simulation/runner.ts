/** A simulated runner: that of `atoll runner`, with its lease and what it holds, on a machine of the simulation. */

import { runnerOperations } from '@atoll/protocol/runner-operations';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import { createHeldLink } from '@atoll/runner/held-link';
import { createRunnerHandlers } from '@atoll/runner/http-handlers';
import { createRegistration, leaseRequests } from '@atoll/runner/registration';
import type { Life } from './agenda.ts';
import { COORDINATOR } from './coordinator.ts';
import { createMachine, type Disk } from './machine.ts';
import { createRemoteCoordinator, createRunner } from './product.ts';
import { createSimulatedDriver, type Place, type SimulatedDriver } from './sandboxes.ts';
import { createServing } from './serving.ts';
import type { World } from './world.ts';

export type RunnerNode = {
  readonly name: string;
  /** It is up, whether its machine stands still or not. */
  readonly up: boolean;
  start(): void;
  /** `blank`: its disk is new when it comes back. */
  crash(options: { blank: boolean }): void;
  suspend(): void;
  wake(): void;
};

type Running = { life: Life; driver: SimulatedDriver; suspended: boolean };

export function createRunnerNode(world: World, name: string, capacity: number): RunnerNode {
  const { agenda, network, tell } = world;
  const disk: Disk = new Map();
  let running: Running | undefined;
  let starts = 0;

  async function bring(life: Life, driver: SimulatedDriver, noted: Map<string, Place>): Promise<void> {
    const logger = world.logger(name);
    const tokens = { token: async () => 'runner-token' };
    const coordinator = createRemoteCoordinator({ url: `http://${COORDINATOR}`, tokens, logger });
    const runner = await createRunner(
      {
        ...{ dataDir: '/nowhere', runnerId: name, driver, capacity, coordinator, hostname: name },
        bridge: async () => ({ command: ['bridge'], hostCommand: ['bridge'], mounts: [], env: {} }),
        upstreams: {},
        profiles: [{ name: 'program', settings: { kind: 'program' }, env: {}, mounts: [] }],
        mayAct: () => registration.mayAct(),
        log: logger,
      },
      createMachine(world, { disk, runner: name, noted }),
    );
    const link = createHeldLink(runner.link);
    const health = async () => ({
      ...{ status: 'ok' as const, runnerId: name, version: '0.0.0', capacity },
      sandboxes: link.inventory().length,
    });
    const handlers = createRunnerHandlers({ link, health });
    network.serve(life, createServing({ operations: runnerOperations, handlers, logger }));
    const lease = leaseRequests(coordinator.leaseRequests);
    const leased = async <T extends { lease: { leaseMs: number } }>(asking: Promise<T>): Promise<T> => {
      const askedAt = agenda.now;
      const answer = await asking;
      tell({ kind: 'leased', node: name, until: askedAt + answer.lease.leaseMs });
      return answer;
    };
    const registration = createRegistration({
      requests: {
        ...lease,
        register: (described) => leased(lease.register(described)),
        heartbeat: (beat) => leased(lease.heartbeat(beat)),
      },
      link,
      description: {
        ...{ runnerId: name, address: `http://${name}`, capacity, labels: {}, executorProfiles: ['program'] },
        ...{ drivers: [driver.name], hostname: name, version: '0.0.0', protocolVersion: PROTOCOL_VERSION },
        callbackToken: `callback-token-of-${name}`,
        incarnation: `start-${starts}`,
      },
      clock: () => 1000 * process.getBuiltinModule('node:os').uptime(),
      onExpired() {
        tell({ kind: 'expired', node: name });
        runner.freeze().catch((err) => logger.error({ err }, 'sandboxes could not be frozen'));
      },
      onRenewed() {
        tell({ kind: 'renewed', node: name });
        runner.thaw().catch((err) => logger.error({ err }, 'sandboxes could not be thawed'));
      },
      onFatal: (err) => logger.error({ err }, 'the coordinator refuses this runner for good'),
      logger,
    });
    link.onSweep(registration.lookedThrough);
  }

  return {
    name,
    get up() {
      return running !== undefined;
    },
    start() {
      starts++;
      const life = agenda.newLife(name);
      const noted = new Map<string, Place>();
      const placeOf = (id: string): Place =>
        noted.get(id) ?? { of: { runner: name, sandbox: id, session: null, epoch: 0 }, mayAct: () => true };
      const driver = createSimulatedDriver(world, { life, placeOf });
      running = { life, driver, suspended: false };
      tell({ kind: 'up', node: name });
      agenda.after(0, life, () => void bring(life, driver, noted));
    },
    crash({ blank }) {
      if (!running) return;
      const { life, driver } = running;
      running = undefined;
      life.alive = false;
      if (blank) disk.clear();
      tell({ kind: 'crashed', node: name });
      driver.crash();
      network.ended(life);
    },
    suspend() {
      if (!running || running.suspended) return;
      running.suspended = true;
      agenda.suspend(running.life);
      running.driver.suspend();
      tell({ kind: 'suspended', node: name });
    },
    wake() {
      if (!running?.suspended) return;
      running.suspended = false;
      tell({ kind: 'woke', node: name });
      agenda.wake(running.life);
      running.driver.wake();
    },
  };
}
