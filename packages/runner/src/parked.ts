/**
 * Sandboxes that wait for their session: made for one tenant's version of an agent, with a gateway that is shut. Each is
 * given away once, and what it is told then is all that it hears of anybody's session.
 */
import { AtollError } from '@atoll/protocol/errors';
import type { ClaimSandbox } from '@atoll/protocol/runner-link';
import { applyProfile, type ExecutorProfile } from './executor-profiles.ts';
import { withGatewayUrl } from './mcp-servers.ts';
import type { Sandbox } from './sandbox.ts';
import type { SandboxGateway } from './sandbox-gateway.ts';

type Parked = { sandbox: Sandbox; gateway: SandboxGateway };

export type ParkedSandboxes = {
  add(parked: Parked): void;
  /** Nothing happens when it was none. */
  forget(sandboxId: string): void;
  claim(sandbox: Sandbox, request: ClaimSandbox): Promise<void>;
};

/** A bridge that has nothing to do answers in a millisecond; one that does not is replaced by a new sandbox. */
const CLAIM_MS = 2_000;

export function createParked(profiles: readonly ExecutorProfile[]): ParkedSandboxes {
  const waiting = new Map<string, SandboxGateway>();

  return {
    add: ({ sandbox, gateway }) => void waiting.set(sandbox.id, gateway),
    forget: (sandboxId) => void waiting.delete(sandboxId),
    async claim(sandbox, { executor: asked, env, traceparent }) {
      const gateway = waiting.get(sandbox.id);
      if (!gateway) throw new AtollError('sandbox_failed', `sandbox ${sandbox.id} waits for nobody`);
      waiting.delete(sandbox.id);
      const { executor } = applyProfile(profiles, asked);
      gateway.open();
      await sandbox.claim(withGatewayUrl(executor, gateway.url), {
        // As in a new sandbox, what leads to the gateway lies over what anybody else says.
        env: Object.fromEntries(Object.entries(env).filter(([name]) => !Object.hasOwn(gateway.env, name))),
        ...(traceparent === undefined ? {} : { traceparent }),
        timeoutMs: CLAIM_MS,
      });
    },
  };
}
