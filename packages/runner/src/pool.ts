/** The sandboxes of this runner: how many there may be, which there are, and which nobody uses. */
import { AtollError } from '@atoll/protocol/errors';
import type { Sandbox } from './sandbox.ts';

export type Pool = {
  readonly capacity: number;
  /** Takes a place before anything is started; throws `no_capacity`. The returned function gives it back, once. */
  take(): () => void;
  add(sandbox: Sandbox): void;
  remove(sandboxId: string): void;
  get(sandboxId: string): Sandbox | undefined;
  all(): Sandbox[];
  usesWorkspace(workspaceId: string): boolean;
};

export function createPool(capacity: number): Pool {
  const sandboxes = new Map<string, Sandbox>();
  let taken = 0;
  return {
    capacity,
    take() {
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
    remove: (sandboxId) => void sandboxes.delete(sandboxId),
    get: (sandboxId) => sandboxes.get(sandboxId),
    all: () => [...sandboxes.values()],
    usesWorkspace: (workspaceId) =>
      [...sandboxes.values()].some((sandbox) => sandbox.workspaceId === workspaceId),
  };
}
