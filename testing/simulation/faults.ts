/** What goes wrong, and when: chosen before anything runs, so that it is the same for a seed whatever the product does. */
import type { Chance } from './chance.ts';
import { COORDINATOR, type CoordinatorNode } from './coordinator.ts';
import type { RunnerNode } from './runner.ts';
import type { World } from './world.ts';

export type Nodes = {
  coordinator: CoordinatorNode;
  runners: readonly RunnerNode[];
  users: readonly string[];
};

/** Until then something may break. */
export const TROUBLED_MS = 24_000;

export function planFaults(world: World, nodes: Nodes): () => void {
  const { agenda, network } = world;
  const chance = world.chance.branch();
  const cuts = new Set<string>();
  let coordinatorUp = true;
  let healed = false;
  const outside = agenda.life;

  const at = (ms: number, run: () => void) =>
    void agenda.after(ms, outside, () => {
      if (!healed) run();
    });

  function cut(from: string, to: string, ms: number): void {
    const name = `${from} ${to}`;
    if (cuts.has(name)) return;
    cuts.add(name);
    network.cut(from, to);
    world.tell({ kind: 'cut', from, to });
    at(ms, () => join(from, to));
  }

  function join(from: string, to: string): void {
    if (!cuts.delete(`${from} ${to}`)) return;
    network.join(from, to);
    world.tell({ kind: 'joined', from, to });
  }

  function crashCoordinator(downMs: number): void {
    if (!coordinatorUp) return;
    coordinatorUp = false;
    nodes.coordinator.crash();
    at(downMs, startCoordinator);
  }

  function startCoordinator(): void {
    coordinatorUp = true;
    nodes.coordinator.start();
  }

  const faults: ((chance: Chance) => void)[] = [
    (of) => crashCoordinator(of.between(50, 4_000)),
    (of) => crashCoordinator(of.between(50, 500)),
    (of) => {
      const runner = anyOf(nodes.runners, of);
      if (!runner.up) return;
      runner.crash({ blank: of.happens(0.3) });
      at(of.between(100, 18_000), () => runner.start());
    },
    (of) => {
      const runner = anyOf(nodes.runners, of);
      runner.suspend();
      at(of.between(500, 22_000), () => runner.wake());
    },
    (of) => {
      const other = anyOf([...nodes.runners.map(({ name }) => name), ...nodes.users], of);
      const ms = of.between(500, 20_000);
      const ways = of.between(1, 3);
      if (ways & 1) cut(COORDINATOR, other, ms);
      if (ways & 2) cut(other, COORDINATOR, ms);
    },
  ];

  const many = chance.between(0, 5);
  for (let i = 0; i < many; i++) {
    const fault = anyOf(faults, chance);
    const own = chance.branch();
    at(chance.between(500, TROUBLED_MS - 10_000), () => fault(own));
  }
  network.trouble = chance.pick([0, 0.3, 1, 1, 2]);

  return function heal() {
    healed = true;
    network.trouble = 0;
    for (const name of [...cuts]) join(...(name.split(' ') as [string, string]));
    for (const runner of nodes.runners) {
      runner.wake();
      if (!runner.up) runner.start();
    }
    if (!coordinatorUp) startCoordinator();
    world.tell({ kind: 'healed' });
  };
}

function anyOf<T>(of: readonly T[], chance: Chance): T {
  const chosen = of[chance.between(0, of.length - 1)];
  if (chosen === undefined) throw new Error('there is nothing to choose from');
  return chosen;
}
