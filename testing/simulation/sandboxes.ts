/** The driver of simulated sandboxes: a process tree is a life of its own, which may stand still and end. */
import { Duplex, Readable } from 'node:stream';
import { AtollError } from '@atoll/protocol/errors';
import type { Life } from './agenda.ts';
import { createExecutor, type Executor } from './executor.ts';
import type { Driver, SandboxExit, SandboxProcess, SandboxSpec } from './product.ts';
import type { Assignment } from './trace.ts';
import type { World } from './world.ts';

export type Place = { of: Assignment; mayAct: () => boolean };

export type SimulatedDriver = Driver & {
  /** The machine stands still, with all that runs on it. */
  suspend(): void;
  wake(): void;
  /** The runner is gone, and with it its sandboxes. */
  crash(): void;
};

/** `placeOf`: whose sandbox it is, which a driver is not told. */
export function createSimulatedDriver(
  { agenda, chance, network, tell }: World,
  { life, placeOf }: { life: Life; placeOf: (sandboxId: string) => Place },
): SimulatedDriver {
  const running = new Map<Life, { end(cause: SandboxExit['cause']): void }>();

  async function start({ id }: SandboxSpec): Promise<SandboxProcess> {
    await new Promise<void>((resolve) => void agenda.after(chance.between(1, 40), life, resolve));
    if (chance.happens(0.03 * network.trouble)) throw new AtollError('sandbox_failed', 'it did not start');
    const { of, mayAct } = placeOf(id);
    const own = agenda.newLife(`${life.node} ${id}`);
    const exited = Promise.withResolvers<SandboxExit>();
    let executor: Executor | undefined;
    let room = Promise.withResolvers<void>();

    const channel = new Duplex({
      readableHighWaterMark: 4096,
      read() {
        agenda.after(0, own, () => {
          room.resolve();
          room = Promise.withResolvers();
        });
      },
      write(bytes: Uint8Array, _encoding, done) {
        const lines = Buffer.from(bytes).toString().split('\n');
        agenda.after(0.2, own, () => {
          for (const line of lines) if (line !== '') executor?.receive(line);
        });
        done();
      },
    });
    const output = new Readable({ read: () => undefined });
    let full = false;
    let arrivesAt = 0;

    function write(line: string): boolean {
      // In the order in which it was written.
      arrivesAt = Math.max(arrivesAt, agenda.now + chance.between(0, 4) / 4);
      agenda.after(arrivesAt - agenda.now, life, () => {
        if (running.has(own)) full = !channel.push(`${line}\n`);
      });
      return !full;
    }

    function end(cause: SandboxExit['cause']): void {
      if (!running.delete(own)) return;
      own.alive = false;
      tell({ kind: 'gone', of, cause });
      agenda.after(chance.between(0, 20), life, () => {
        exited.resolve({ cause, detail: `The sandbox ended: ${cause}.`, exitCode: null, signal: 'SIGKILL' });
        channel.push(null);
        output.push(null);
      });
    }

    executor = createExecutor({
      ...{ of, life: own, agenda, chance, tell, write, mayAct },
      room: () => room.promise,
      die: () => end('exited'),
    });
    running.set(own, { end });
    tell({ kind: 'began', of });

    async function move(still: boolean): Promise<void> {
      await new Promise<void>((resolve) => void agenda.after(chance.between(0, 10), life, resolve));
      if (!running.has(own)) return;
      if (still) agenda.suspend(own);
      else agenda.wake(own);
      tell({ kind: still ? 'stood_still' : 'went_on', of });
    }

    return {
      pid: 1,
      channel,
      output,
      exited: exited.promise,
      kill: end,
      freeze: () => move(true),
      thaw: () => move(false),
      usage: async () => ({ memoryBytes: 0, processes: 1 }),
    };
  }

  return {
    name: 'simulated',
    check: async () => [],
    prepare: async () => undefined,
    remove: async () => undefined,
    sweep: async () => undefined,
    stop: async () => undefined,
    start,
    suspend() {
      for (const own of running.keys()) agenda.suspend(own);
    },
    wake() {
      for (const own of running.keys()) agenda.wake(own);
    },
    crash() {
      for (const { end } of [...running.values()]) end('killed');
    },
  };
}
