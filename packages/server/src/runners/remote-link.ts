import { AtollError } from '@atoll/protocol/errors';
import type {
  CommandEnd,
  CommandEvent,
  RunnerLink,
  SandboxCommand,
  SandboxInventory,
  TakenSnapshot,
} from '@atoll/protocol/runner-link';

/** A link to a runner in another process, which may be lost. */
export type RemoteLink = RunnerLink & {
  inventory(): Promise<readonly SandboxInventory[]>;
  /** As `command`, for one that may run there already: what it said up to that line is known. */
  reattach(request: SandboxCommand, after: number): AsyncIterable<CommandEvent>;
  /** Whether it can be asked anything, as far as is known. Left out where heartbeats come by the way that it is asked. */
  reached?(): boolean;
  /** Whether it was not reached before it registered anew, and answered nothing since. Left out as `reached` is. */
  doubted?(): boolean;
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

/** Of one snapshot: more is none, and sums of many are exact. */
const MAX_COUNT = 2 ** 43;

/** What a runner may say that it took. Its rows share a commit with those of others. Throws `snapshot_failed`. */
export function soundSnapshot(taken: TakenSnapshot): TakenSnapshot {
  const { files, sizeBytes, storedBytes, skipped } = taken;
  if ([files, sizeBytes, storedBytes, skipped.count].some((count) => count > MAX_COUNT))
    throw new AtollError('snapshot_failed', 'the runner says that it took more than there can be');
  return taken;
}
