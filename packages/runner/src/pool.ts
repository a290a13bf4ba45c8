/** The sandboxes of this runner: how many there may be, which there are, and which nobody uses. */
import { AtollError } from '@atoll/protocol/errors';
import type { Sandbox } from './sandbox.ts';

/** For a sandbox that is ending to be gone; its place was given to somebody else as soon as it was asked to end. */
const ENDING_MS = 5_000;

export type Pool = {
  readonly capacity: number;
  /**
   * Takes a place before anything is started; rejects with `no_capacity`. While a sandbox is ending it waits for that
   * place. The returned function gives it back, once.
   */
  take(): Promise<() => void>;
  add(sandbox: Sandbox): void;
  /** It was asked to end: its place will be free. */
  leaving(sandbox: Sandbox): void;
  remove(sandboxId: string): void;
  get(sandboxId: string): Sandbox | undefined;
  all(): Sandbox[];
  /** The one that works on it. */
  inWorkspace(workspaceId: string): Sandbox | undefined;
};

export function createPool(capacity: number): Pool {
  const sandboxes = new Map<string, Sandbox>();
  const leaving = new Set<Promise<unknown>>();
  let taken = 0;

  async function roomBecomesFree(): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, ENDING_MS);
    let waiting = true;
    void late.promise.then(() => {
      waiting = false;
    });
    while (waiting && taken >= capacity && leaving.size > 0) await Promise.race([late.promise, ...leaving]);
    clearTimeout(timer);
  }

  return {
    capacity,
    async take() {
      if (taken >= capacity) await roomBecomesFree();
      if (taken >= capacity)
        throw new AtollError('no_capacity', `this runner holds ${capacity} sandboxes at most`);
      taken++;
      let given = false;
      return () => {
        if (!given) taken--;
        given = true;
      };
    },
    add: (sandbox) => void sandboxes.set(sandbox.id, sandbox),
    leaving({ exited }) {
      leaving.add(exited);
      void exited.then(() => leaving.delete(exited));
    },
    remove: (sandboxId) => void sandboxes.delete(sandboxId),
    get: (sandboxId) => sandboxes.get(sandboxId),
    all: () => [...sandboxes.values()],
    inWorkspace: (workspaceId) =>
      [...sandboxes.values()].find((sandbox) => sandbox.workspaceId === workspaceId),
  };
}
