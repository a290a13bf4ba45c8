/** The simulated coordinator: the whole platform of the product on a disk that outlives it. */
import { createHash } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';
import { operations } from '@atoll/protocol/operations';
import type { Life } from './agenda.ts';
import {
  type BlobStore,
  createPlatform,
  eventsOf,
  type MemoryDisk,
  openMemoryDatabase,
  type Platform,
} from './product.ts';
import { createServing } from './serving.ts';
import type { World } from './world.ts';

export const COORDINATOR = 'coordinator';

export type CoordinatorNode = {
  /** Begins to come up; it answers when it has recovered what it found on its disk. */
  start(): void;
  crash(): void;
};

export function createCoordinatorNode(world: World, disk: MemoryDisk): CoordinatorNode {
  const { agenda, network, chance, tell } = world;
  const blobs = { blobs: createMemoryBlobs(), snapshots: createMemoryBlobs() };
  const logger = world.logger(COORDINATOR);
  let life: Life | undefined;
  let incarnation = 0;

  /** A commit takes a moment, and now and then a long one. */
  function open(own: Life) {
    const later = (step: () => void) => {
      const ms = chance.happens(0.02 * network.trouble) ? chance.between(50, 800) : chance.between(1, 8) / 4;
      agenda.after(ms, own, step);
    };
    const coordinator = incarnation;
    return openMemoryDatabase({
      disk,
      later,
      laterRead: (step) => void agenda.after(chance.between(0, 4) / 4, own, step),
      onCommitted({ append }) {
        if (append === undefined) return;
        const events = [...eventsOf({ frames: append.frames })].map(({ seq, event, data }) => ({
          ...{ seq, event },
          data: Buffer.from(data).toString(),
        }));
        tell({ kind: 'appended', session: append.logId, epoch: append.epoch, coordinator, events });
      },
    });
  }

  async function bring(own: Life): Promise<void> {
    const platform: Platform = await createPlatform({
      server: { dataDir: '/nowhere', version: '0.0.0', log: logger },
      database: open(own),
      openBlobs: (name) => blobs[name],
      adminSecret: 'atoll_simulated',
      url: `http://${COORDINATOR}`,
      connect: undefined,
      logger,
      now: Date.now,
      health: async () => ({
        ...{ status: 'ok' as const, version: '0.0.0', uptimeMs: 0, sessions: 0 },
        pool: { capacity: 0, reserved: 0, running: 0, idle: 0, warm: 0 },
      }),
    });
    network.serve(own, createServing({ operations, handlers: platform.handlers, logger }));
    tell({ kind: 'up', node: COORDINATOR });
  }

  return {
    start() {
      incarnation++;
      const own = agenda.newLife(COORDINATOR);
      life = own;
      agenda.after(0, own, () => void bring(own));
    },
    crash() {
      if (!life) return;
      life.alive = false;
      tell({ kind: 'crashed', node: COORDINATOR });
      network.ended(life);
    },
  };
}

function createMemoryBlobs(): BlobStore {
  const held = new Map<string, Uint8Array>();
  const place = (tenant: string, hash: string) => `${tenant} ${hash}`;
  return {
    async put(tenant, content) {
      const hash = createHash('sha256').update(content).digest('hex');
      held.set(place(tenant, hash), content);
      return hash;
    },
    async get(tenant, hash) {
      const content = held.get(place(tenant, hash));
      if (!content) throw new AtollError('not_found', `no blob ${hash}`);
      return content;
    },
    has: async (tenant, hash) => held.has(place(tenant, hash)),
    delete: async (tenant, hash) => held.delete(place(tenant, hash)),
    async *list() {},
  };
}
