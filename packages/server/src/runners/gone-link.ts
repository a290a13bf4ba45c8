import { AtollError } from '@atoll/protocol/errors';
import type { RunnerLink } from '@atoll/protocol/runner-link';

/** The link to a runner that is not there: what is to be gone is gone, and everything else rejects with `runner_lost`. */
export function goneLink(runnerId: string): RunnerLink {
  const lost = () => Promise.reject(new AtollError('runner_lost', `runner ${runnerId} is not connected`));
  const nothing = async () => undefined;
  return {
    runnerId,
    createSandbox: lost,
    claimSandbox: lost,
    deleteSandbox: nothing,
    sweep: nothing,
    // biome-ignore lint/correctness/useYield: it ends before it says anything
    async *command() {
      await lost();
    },
    acknowledge: () => undefined,
    cancel: nothing,
    decide: nothing,
    onSandboxEnded: () => undefined,
    files: { read: lost, write: lost, remove: lost, list: lost },
    snapshot: lost,
    restore: lost,
  };
}
