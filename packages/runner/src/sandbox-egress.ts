/** The way of one sandbox to hosts outside: what its gateway needs for it, and what programs inside are told of it. */
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import type { SandboxSpec } from './driver.ts';
import type { Network } from './gateway/egress/network.ts';
import type { Egress } from './gateway/egress/proxy.ts';
import type { Logger } from './logger.ts';

export type SandboxEgress = {
  readonly egress: Egress;
  /** `proxy` is the gateway's URL. */
  env(proxy: URL): Readonly<Record<string, string>>;
  readonly readOnly: SandboxSpec['readOnly'];
  close(): Promise<void>;
};

/** Loaded with the first sandbox: a server starts without. */
export async function openEgress(options: {
  /** Patterns of hosts. */
  allowed: readonly string[];
  /** Where its files are, each name beginning with `id`. */
  directory: string;
  id: string;
  /** Without walls, a sandbox has the host's paths and network, and the proxy a password. */
  enclosed: boolean;
  password: string | undefined;
  network: Network;
  credentials: () => Promise<readonly GatewayCredential[]>;
  record: (record: AccessRecord) => void;
  logger: Logger;
}): Promise<SandboxEgress> {
  const { allowed, enclosed, password } = options;
  const { createEgress, PROXY_USER } = await import('./gateway/egress/proxy.ts');
  const trusted = allowed.length > 0 ? await createTrusted(options) : undefined;
  return {
    egress: createEgress({ ...options, authority: trusted?.authority }),
    env(proxy) {
      // Whoever has the network of the host keeps it, unless its agent says where it wants to go.
      if (allowed.length === 0 && !enclosed) return {};
      const url = new URL(proxy.origin);
      if (password !== undefined) Object.assign(url, { username: PROXY_USER, password });
      // Node's own proxying costs each of its starts; it is for those that have somewhere to go.
      const node = allowed.length > 0 ? { NODE_USE_ENV_PROXY: '1' } : {};
      return { ...proxyEnv(url.href.replace(/\/$/, '')), ...node, ...trusted?.trust.env };
    },
    readOnly: trusted?.trust.mounts ?? [],
    close: async () => trusted?.trust.remove(),
  };
}

async function createTrusted(options: { directory: string; id: string; enclosed: boolean }) {
  const { createSessionAuthority } = await import('./gateway/egress/certificates.ts');
  const { writeTrust } = await import('./gateway/egress/trust.ts');
  const authority = await createSessionAuthority();
  return { authority, trust: await writeTrust({ ...options, certificate: authority.certificate }) };
}

/** Some programs know the one spelling, some the other. What is in the sandbox itself is reached as ever. */
function proxyEnv(url: string): Record<string, string> {
  const inside = '127.0.0.1,localhost,::1';
  const variables = { HTTP_PROXY: url, HTTPS_PROXY: url, NO_PROXY: inside };
  const lower = Object.entries(variables).map(([name, value]) => [name.toLowerCase(), value]);
  return { ...variables, ...Object.fromEntries(lower) };
}
