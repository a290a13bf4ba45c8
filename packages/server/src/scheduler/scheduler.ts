/**
 * Which runner takes a sandbox. Demands first, then the runner that holds the session's workspace, then the one with
 * the most room; the place itself is taken by compare-and-set, so that two decisions cannot both win the last one.
 */
import { AtollError } from '@atoll/protocol/errors';
import type { RegisteredRunner, RunnerRegistry } from '../runners/registry.ts';

export type Demands = {
  labels?: Record<string, string> | undefined;
  executorProfile?: string | undefined;
  driver?: string | undefined;
  memoryMb?: number | undefined;
};

export type Scheduler = {
  /** Throws `no_runner` with who was considered and why not. */
  place(request: { demands: Demands; preferred: string | null }): RegisteredRunner;
};

export function createScheduler(options: { runners: RunnerRegistry }): Scheduler {
  return {
    place({ demands, preferred }) {
      const refusals: string[] = [];
      const fitting = options.runners.all().filter((runner) => {
        const refusal = whyNot(runner, demands);
        if (refusal !== undefined) refusals.push(`${runner.id}: ${refusal}`);
        return refusal === undefined;
      });
      const chosen = fitting.find((runner) => runner.id === preferred) ?? fitting[0];
      if (chosen) return chosen;
      throw new AtollError('no_runner', refusals.length > 0 ? refusals.join('; ') : 'no runner is connected');
    },
  };
}

function whyNot({ info }: RegisteredRunner, demands: Demands): string | undefined {
  for (const [name, value] of Object.entries(demands.labels ?? {})) {
    if (info.labels[name] !== value) return `label ${name} is not ${value}`;
  }
  if (demands.executorProfile !== undefined && !info.executorProfiles.includes(demands.executorProfile))
    return `does not offer the executor profile ${demands.executorProfile} ("atoll doctor" there says why)`;
  if (demands.driver !== undefined && !info.drivers.includes(demands.driver))
    return `does not offer the driver ${demands.driver}`;
  return undefined;
}
