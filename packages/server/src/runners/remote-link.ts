import type { CommandEnd, RunnerLink, SandboxInventory } from '@atoll/protocol/runner-link';

/** A link to a runner in another process, which may be lost. */
export type RemoteLink = RunnerLink & {
  inventory(): Promise<readonly SandboxInventory[]>;
  /** The runner's lease is over: what waits for it ends with cause `runner_lost`, and nothing more is asked of it. */
  lost(): void;
};

/** How every command of a lost runner ends. */
export const LOST: CommandEnd = {
  kind: 'end',
  status: 'interrupted',
  cause: 'runner_lost',
  detail: 'The runner of this session was lost.',
  sandboxEnded: true,
};
