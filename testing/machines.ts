/** A coordinator and runners on machines of their own (netns.ts), with TLS between them by an authority of their own. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Atoll, startAtoll } from './atoll.ts';
import { type Authority, createAuthority } from './certificates.ts';
import { createNetwork, type Machine } from './netns.ts';
import { type RunnerProcess, startRunner } from './runner-process.ts';

type Link = 'http' | 'grpc';

export type Machines = {
  readonly atoll: Atoll;
  /** Another machine with a runner; how many sandboxes it takes. */
  runner(name: string, capacity: number): Promise<{ machine: Machine; runner: RunnerProcess }>;
  /** Stops all of them, however they fare. */
  [Symbol.asyncDispose](): Promise<void>;
};

/** The coordinator keeps its ports when it is started again. */
export async function startMachines(link: Link): Promise<Machines> {
  const network = createNetwork();
  const runners: RunnerProcess[] = [];
  let atoll: Atoll | undefined;

  async function dispose(): Promise<void> {
    for (const runner of runners) await runner.stop();
    await atoll?.[Symbol.asyncDispose]();
    network[Symbol.dispose]();
  }

  try {
    const { address, within } = network.machine('coordinator');
    const dataDir = await mkdtemp(join(tmpdir(), 'atoll-test-'));
    const authority = await createAuthority(join(dataDir, 'tls'));
    const server = await startAtoll({
      dataDir,
      within,
      keepsPorts: true,
      args: ['--no-runner', '--host', address, '--allow-remote', ...(await dialIn(link, address, authority))],
      // By it, the runners' certificates are known to be theirs.
      env: { NODE_EXTRA_CA_CERTS: authority.ca },
    });
    atoll = server;
    return {
      atoll: server,
      async runner(name, capacity) {
        const machine = network.machine(`m${runners.length}`);
        const { cert, key } = await authority.issue(machine.address);
        const where = link === 'http' ? ['--host', machine.address] : ['--tls-ca', authority.ca];
        const args = ['--tls-cert', cert, '--tls-key', key, ...where, '--capacity', `${capacity}`];
        const runner = await startRunner(server, name, { link, within: machine.within, args });
        runners.push(runner);
        return { machine, runner };
      },
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** By certificates both ways. */
async function dialIn(link: Link, address: string, authority: Authority): Promise<string[]> {
  if (link === 'http') return [];
  const { cert, key } = await authority.issue(address);
  const own = ['--grpc-tls-cert', cert, '--grpc-tls-key', key];
  return ['--grpc-port', '0', ...own, '--grpc-tls-ca', authority.ca];
}
