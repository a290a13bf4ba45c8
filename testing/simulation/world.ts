/** What all nodes of a simulation share. */
import type { Logger } from '@atoll/server';
import type { Agenda } from './agenda.ts';
import type { Chance } from './chance.ts';
import type { Network } from './network.ts';
import type { Happening } from './trace.ts';

export type World = {
  readonly agenda: Agenda;
  readonly network: Network;
  /** For what nodes do, and what happens to them. */
  readonly chance: Chance;
  /** Writes it into the trace. */
  tell(happening: Happening): void;
  /** What the product logs; shown when a run is replayed. */
  logger(node: string): Logger;
};
