/**
 * Many runners without sandboxes, in one process of their own: half of them called over HTTP, half dialled in by gRPC.
 * To their coordinator each is a runner like any other: it registers, sends heartbeats, answers what it is asked for, and
 * says what it holds.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Atoll } from './atoll.ts';

export type SimulatedFleet = {
  readonly pid: number;
  /** Ids of the runners. */
  readonly runnerIds: readonly string[];
  /** So many rounds of a heartbeat of each, one after the other. Resolves when the last is answered. */
  beat(rounds: number): Promise<void>;
  /** How many sandboxes each runner holds. */
  held(): Promise<Record<string, number>>;
  /** From now on none of them is heard. */
  [Symbol.asyncDispose](): Promise<void>;
};

export type FleetOptions = {
  http: number;
  grpc: number;
  /** Of each. */
  capacity: number;
  /** Between two heartbeats of a runner that nobody asks for; 0: there are none. */
  heartbeatMs: number;
};

export type FleetStart = FleetOptions & { url: string; grpcUrl: string; key: string };
export type FleetRequest = { kind: 'beat'; rounds: number } | { kind: 'held' };
export type FleetReply = { kind: 'done'; held: Record<string, number> } | { kind: 'failed'; detail: string };

const MAIN = fileURLToPath(new URL('simulated-fleet-process.ts', import.meta.url));

/** Resolves when all are registered. The coordinator listens for gRPC, too. */
export async function startSimulatedFleet(atoll: Atoll, options: FleetOptions): Promise<SimulatedFleet> {
  const { secret: key } = await atoll.client.call('key.create', { role: 'runner' });
  const child = fork(MAIN, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const { url, grpcUrl } = atoll;
  const runnerIds = Object.keys(await ask(child, { ...options, url, grpcUrl, key } satisfies FleetStart));
  return {
    pid: child.pid ?? 0,
    runnerIds,
    beat: async (rounds) => void (await ask(child, { kind: 'beat', rounds })),
    held: () => ask(child, { kind: 'held' }),
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.disconnect();
      await once(child, 'exit');
    },
  };
}

async function ask(child: ChildProcess, request: FleetStart | FleetRequest): Promise<Record<string, number>> {
  child.send(request);
  const gone = once(child, 'exit').then(() => Promise.reject(new Error('the simulated runners are gone')));
  const [reply] = (await Promise.race([once(child, 'message'), gone])) as [FleetReply];
  gone.catch(() => undefined); // it is gone one day
  if (reply.kind === 'failed') throw new Error(reply.detail);
  return reply.held;
}
