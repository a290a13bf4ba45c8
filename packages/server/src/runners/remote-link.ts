import type {
  CommandEnd,
  CommandEvent,
  RunnerLink,
  SandboxCommand,
  SandboxInventory,
} from '@atoll/protocol/runner-link';

/** A link to a runner in another process, which may be lost. */
export type RemoteLink = RunnerLink & {
  inventory(): Promise<readonly SandboxInventory[]>;
  /** As `command`, for one that may run there already: what it said up to that line is known. */
  reattach(request: SandboxCommand, after: number): AsyncIterable<CommandEvent>;
  /** Whether it can be asked anything, as far as is known. Left out where heartbeats come by the way that it is asked. */
  reached?(): boolean;
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
