/**
 * A download from inside a sandbox, through the bridge and the gateway's proxy, against the same client's download
 * straight from the same server. Needs ports 80 and 443 of addresses of its own, and so root or a system that allows them.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { versatile } from '../agents.ts';
import { deployProgram, startAtoll } from '../atoll.ts';
import { figureOf, type Pair, takePairs } from './pairs.ts';
import { atLeast, type Measure, row } from './row.ts';

const MEGABYTES = 100;
const run = promisify(execFile);

type Way = { name: string; curl: string[]; bar?: ReturnType<typeof atLeast> };

export const egress: Measure = {
  name: 'egress',
  what: `${MEGABYTES} MB from a sandbox through the egress proxy, by curl`,
  async take({ pairs: count }) {
    const directory = await mkdtemp(join(tmpdir(), 'atoll-bench-egress-'));
    const [open, secret, raw] = [ownAddress(), ownAddress(), ownAddress()];
    const server = await startServer([directory, String(MEGABYTES), open, secret, raw]);
    try {
      await using atoll = await startAtoll({ env: { NODE_EXTRA_CA_CERTS: join(directory, 'ca.pem') } });
      const value = randomBytes(20).toString('hex');
      await atoll.client.call('credential.set', { name: 'host', kind: 'bearer', hosts: [secret], value });
      await deployProgram(atoll.client, 'download', versatile, { egress: [open, secret, raw] });
      const { session } = await atoll.client.call('session.create', { agent: 'download' });
      const ways: Way[] = [
        { name: 'tunnel', curl: ['-p', `http://${raw}:443/`], bar: atLeast(0.6) },
        { name: 'tunnel with TLS in it', curl: [`https://${open}/`] },
        { name: 'plain HTTP', curl: [`http://${open}/`], bar: atLeast(0.6) },
        { name: 'TLS ended, credential added', curl: [`https://${secret}/`] },
      ];
      return await takeAll(ways, count, (command) => inside(atoll, session.id, command));
    } finally {
      server.kill();
      await rm(directory, { recursive: true, force: true });
    }
  },
};

async function takeAll(ways: readonly Way[], count: number, ours: (args: string) => Promise<number>) {
  const rows = [];
  for (const { name, curl, bar } of ways) {
    const inside = curlOf(curl);
    // Without the proxy, the option to tunnel through it says nothing.
    const direct = curlOf(curl.filter((arg) => arg !== '-p'));
    const floor = async () => Number((await run('sh', ['-c', direct])).stdout) / 1e6;
    const pairs: Pair<number>[] = await takePairs(count + 1, () => ours(inside), floor);
    // The first one warms.
    const figure = figureOf(pairs.slice(1), (speed) => speed);
    rows.push(row(`download by the proxy, ${name}`, 'MB/s', figure, bar ? { bar } : {}));
  }
  return rows;
}

/** What curl says of its speed; that a certificate is nobody's is not what is measured. */
function curlOf(args: readonly string[]): string {
  return `curl -fsSk -o /dev/null -w '%{speed_download}' ${args.join(' ')}`;
}

async function inside(
  { client }: Awaited<ReturnType<typeof startAtoll>>,
  sessionId: string,
  command: string,
): Promise<number> {
  const end = await client.call('session.exec', { sessionId, command });
  if (end.exitCode !== 0) throw new Error(`${command} ended with ${end.exitCode}: ${end.stderr}`);
  return Number(end.stdout) / 1e6;
}

async function startServer(args: readonly string[]): Promise<ChildProcess> {
  const path = fileURLToPath(new URL('bare-download.ts', import.meta.url));
  const child = spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  if (!Buffer.isBuffer(said))
    throw new Error('the server of the downloads could not listen on ports 80 and 443');
  return child;
}

/** Of loopback, where no other run of this is. */
function ownAddress(): string {
  return `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(2, 255)}`;
}
