import type { RemoteLink } from './remote-link.ts';

export type NewlyPlaced = {
  has(sandboxId: string): boolean;
  /** No more is noted. */
  stop(): void;
};

/** That link, and which sandboxes are asked for over it: they are no leftovers, whether their row is written yet or not. */
export function notePlaced(link: RemoteLink): { link: RemoteLink; placed: NewlyPlaced } {
  const ids = new Set<string>();
  let noting = true;
  return {
    link: {
      ...link,
      createSandbox(request) {
        if (noting) ids.add(request.sandbox.id);
        return link.createSandbox(request);
      },
    },
    placed: {
      has: (sandboxId) => ids.has(sandboxId),
      stop() {
        noting = false;
        ids.clear();
      },
    },
  };
}
