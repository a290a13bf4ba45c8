import { AtollError } from '@atoll/protocol/errors';
import type { SandboxProcess } from '../driver.ts';

/** The sandboxes that a driver has made and not seen the end of. */
export type SandboxSet = {
  /** Makes one; AtollError `shutting_down` once `stop` was called, `sandbox_failed` for whatever goes wrong. */
  start(make: () => Promise<SandboxProcess>): Promise<SandboxProcess>;
  /** Ends all of them, those on their way up too. */
  stop(): Promise<void>;
};

export function createSandboxSet(): SandboxSet {
  const live = new Set<SandboxProcess>();
  const starting = new Set<Promise<SandboxProcess>>();
  let stopped = false;

  async function makeOne(make: () => Promise<SandboxProcess>): Promise<SandboxProcess> {
    try {
      const sandbox = await make();
      live.add(sandbox);
      void sandbox.exited.finally(() => live.delete(sandbox));
      return sandbox;
    } catch (error) {
      if (error instanceof AtollError) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new AtollError('sandbox_failed', `The sandbox could not be started: ${message}`, {
        cause: error,
      });
    }
  }

  return {
    async start(make) {
      if (stopped) throw new AtollError('shutting_down');
      const made = makeOne(make);
      starting.add(made);
      return made.finally(() => starting.delete(made));
    },
    async stop() {
      stopped = true;
      await Promise.allSettled(starting);
      const all = [...live];
      for (const sandbox of all) sandbox.kill('server_stopped');
      await Promise.all(all.map((sandbox) => sandbox.exited));
    },
  };
}
