/** One run of the simulation from a seed: things happen, things break, all is healed, and then it is looked what is there. */
import { createHash } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';
import type { Logger } from '@atoll/server';
import { createAgenda } from './agenda.ts';
import { createWires } from './asking.ts';
import { createChance } from './chance.ts';
import { createCoordinatorNode } from './coordinator.ts';
import { haveSandbox, haveSession } from './doings.ts';
import { planFaults, TROUBLED_MS } from './faults.ts';
import { takeOver } from './globals.ts';
import { lookAround } from './look.ts';
import { createNetwork, type Note } from './network.ts';
import { createMemoryDisk, type MemoryDisk } from './product.ts';
import { createRunnerNode } from './runner.ts';
import type { Trace, TraceEntry } from './trace.ts';
import { AGENT, createUser } from './user.ts';
import type { World } from './world.ts';

export type Simulated = {
  trace: Trace;
  /** The same for the same run. */
  readonly hash: string;
  /** What escaped: of the product, or of the simulation itself. */
  escaped: readonly unknown[];
  /** How much was simulated. */
  steps: number;
};

export type SimulateOptions = {
  seed: number;
  /** Hears what the product logs. */
  log?: (node: string, at: number, level: string, fields: Record<string, unknown>, text: string) => void;
};

/** By then whoever wants something has it, or never will. */
const MAX_REST_MS = 240_000;
/** A lease ends, and what waits for that is over. */
const SETTLING_MS = 19_000;
/** A reader whose connection fell silent comes back after that. */
const MAX_READING_S = 60;

let kept: MemoryDisk | undefined;

export async function simulate({ seed, log }: SimulateOptions): Promise<Simulated> {
  const agenda = createAgenda();
  const chance = createChance(seed);
  const note: Note | undefined = log && ((from, text) => log(from, agenda.now, 'network', {}, text));
  const network = createNetwork(agenda, chance.branch(), note);
  const trace: TraceEntry[] = [];
  const escaped: unknown[] = [];
  const world: World = {
    ...{ agenda, network, chance: chance.branch() },
    tell: (happening) => void trace.push({ at: agenda.now, ...happening }),
    logger: (node): Logger => {
      const at = (level: string) => (fields: Record<string, unknown>, text: string) =>
        log?.(node, agenda.now, level, fields, text);
      return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
    },
  };
  const onEscaped = (error: unknown) => void escaped.push(error);
  process.on('unhandledRejection', onEscaped);
  const wires = createWires(agenda, network);
  const giveBack = takeOver({ agenda, chance: chance.branch(), wires }, log !== undefined);
  try {
    kept ??= createMemoryDisk(() => new Date().toISOString());
    kept.clear();
    await run(world, kept, trace);
  } finally {
    giveBack();
    process.off('unhandledRejection', onEscaped);
  }
  return {
    trace,
    escaped,
    steps: agenda.steps,
    get hash() {
      return createHash('sha256').update(JSON.stringify(trace)).digest('hex');
    },
  };
}

async function run(world: World, disk: MemoryDisk, trace: Trace): Promise<void> {
  const { agenda, chance } = world;
  const coordinator = createCoordinatorNode(world, disk);
  const names = ['runner-a', 'runner-b', 'runner-c'].slice(0, chance.pick([2, 2, 2, 2, 3]));
  const runners = names.map((name) => createRunnerNode(world, name, chance.between(2, 4)));
  coordinator.start();
  for (const runner of runners) runner.start();
  await deploy(world);

  const users = Array.from({ length: chance.pick([1, 1, 1, 1, 1, 2]) }, (_, i) =>
    createUser(world, `user-${i + 1}`),
  );
  const builders = Array.from({ length: chance.pick([0, 0, 0, 1]) }, (_, i) =>
    createUser(world, `builder-${i + 1}`),
  );
  const heal = planFaults(world, { coordinator, runners, users: users.map(({ name }) => name) });
  for (const user of users) user.start(haveSession);
  for (const builder of builders) builder.start(haveSandbox);
  const all = [...users, ...builders];
  const began = agenda.now;
  await agenda.runUntil(began + TROUBLED_MS, () => all.every(({ done }) => done));
  heal();
  await agenda.runUntil(agenda.now + MAX_REST_MS, () => all.every(({ done }) => done));
  await agenda.runUntil(agenda.now + SETTLING_MS);
  await lookAround(world);
  for (let i = 0; i < MAX_READING_S && !allRead(trace); i++) await agenda.runUntil(agenda.now + 1_000);
}

/** Whether whoever still reads a log has all of it. */
function allRead(trace: Trace): boolean {
  const ends = new Map<string, number>();
  const places = new Map<string, { session: string; seq: number }>();
  for (const entry of trace) {
    if (entry.kind === 'appended') ends.set(entry.session, entry.events.at(-1)?.seq ?? 0);
    if (entry.kind === 'reader_began' && entry.wants === 'log')
      places.set(entry.reader, { session: entry.session, seq: entry.after });
    if (entry.kind === 'reader_ended') places.delete(entry.reader);
    const place = entry.kind === 'reader_got' && places.get(entry.reader);
    if (place) place.seq = entry.event.seq;
  }
  return [...places.values()].every(({ session, seq }) => seq >= (ends.get(session) ?? 0));
}

/** Before anything breaks: the agent is there. */
async function deploy({ agenda, ...world }: World): Promise<void> {
  const operator = createUser({ ...world, agenda }, 'operator');
  const config = { executor: { kind: 'program', command: ['executor'] } };
  const content = Buffer.from(JSON.stringify(config)).toString('base64');
  operator.start(async ({ insist }) => {
    const deployed = await insist('agent.deploy', { name: AGENT, files: [{ path: 'atoll.json', content }] });
    if (deployed instanceof AtollError) throw deployed;
  });
  await agenda.runUntil(agenda.now + 60_000, () => operator.done);
}
