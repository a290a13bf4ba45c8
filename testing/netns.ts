/**
 * Machines of a test's own on this one: network namespaces that are joined by a switch, which is a namespace, too, so
 * that nothing on the way is subject to this machine's firewall. Packets of each can be dropped by direction, or slowed;
 * nobody is told, as when a cable is pulled. This process reaches all of them.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename } from 'node:path';

const PROGRAMS = ['ip', 'tc', 'nft', 'nsenter'];
/** RFC 2544: addresses for tests of networks, which are nobody's. */
const NET = '198.18';
const NAMES = '/run/netns';
const PREFIX = 'atoll-test-';
/** The last number of this process's own address. */
const HERE = 254;

export type Direction = 'in' | 'out' | 'both';

export type Machine = {
  readonly address: string;
  /** What a program is started with to be there. */
  readonly within: readonly string[];
  /** Drops what comes in, what goes out, or both, from now on. */
  cut(direction: Direction): void;
  /** Drops what comes in to that port, or goes out to it; what is asked the other way round goes on. */
  close(direction: 'in' | 'out', port: number): void;
  /** Slow both ways, with loss. Returns what that is here: not every kernel can delay a packet. */
  slow(): string;
  heal(): void;
};

export type Network = {
  machine(name: string): Machine;
  [Symbol.dispose](): void;
};

/** For the `skip` of a test: why there cannot be one, if so. In CI that is no reason: what is missing there is a fault. */
export function missingNetns(): string | false {
  const reason = reasonAgainst();
  if (reason && process.env.CI !== undefined) throw new Error(reason);
  return reason;
}

function reasonAgainst(): string | false {
  if (process.platform !== 'linux') return 'network namespaces are of Linux';
  if (process.getuid?.() !== 0) return 'network namespaces are made as root';
  const missing = PROGRAMS.filter((name) => spawnSync(name, ['--version']).error !== undefined);
  if (missing.length > 0) return `no ${missing.join(', ')}: apt-get install iproute2 nftables util-linux`;
  const name = `${PREFIX}try-${process.pid}-try`;
  const made = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8' });
  spawnSync('ip', ['netns', 'del', name]);
  return made.status === 0 ? false : `no network namespace can be made: ${made.stderr.trim()}`;
}

export function createNetwork(): Network {
  removeLeftovers();
  const named = (name: string) => `${PREFIX}${basename(tmpdir())}-${process.pid}-${name}`;
  const net = freeNet();
  const link = `atoll${net.split('.').at(-1)}`;
  const hub = named('switch');
  const made: string[] = [];

  function add(name: string): void {
    run('ip', 'netns', 'add', name);
    made.push(name);
    run('ip', '-n', name, 'link', 'set', 'lo', 'up');
  }

  function plug(socket: string): void {
    run('ip', '-n', hub, 'link', 'set', socket, 'master', 'hub', 'up');
  }

  function dispose(): void {
    process.off('exit', dispose);
    spawnSync('ip', ['link', 'del', link]);
    for (const name of made.splice(0)) spawnSync('ip', ['netns', 'del', name]);
  }

  process.on('exit', dispose);
  try {
    add(hub);
    run('ip', '-n', hub, 'link', 'add', 'hub', 'up', 'type', 'bridge');
    run(
      'ip',
      '-n',
      hub,
      'link',
      'add',
      'here',
      'type',
      'veth',
      'peer',
      'name',
      link,
      'netns',
      `${process.pid}`,
    );
    plug('here');
    run('ip', 'addr', 'add', `${net}.${HERE}/24`, 'dev', link);
    run('ip', 'link', 'set', link, 'up');
  } catch (error) {
    dispose();
    throw error;
  }

  return {
    machine(name) {
      const own = named(name);
      add(own);
      const socket = `to${made.length}`;
      const address = `${net}.${made.length}`;
      run('ip', '-n', own, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', socket, 'netns', hub);
      plug(socket);
      run('ip', '-n', own, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
      run('ip', '-n', own, 'link', 'set', 'eth0', 'up');
      return machineOf({ own, address, far: { name: hub, socket } });
    },
    [Symbol.dispose]: dispose,
  };
}

function machineOf(of: { own: string; address: string; far: { name: string; socket: string } }): Machine {
  const { own, address, far } = of;
  const ends = [
    { name: own, device: 'eth0' },
    { name: far.name, device: far.socket },
  ];

  /** Instead of those before; what it says to itself always arrives. */
  function firewall(rules: { in?: string; out?: string }): void {
    const chain = (hook: string, loopback: string, rule = '') =>
      `chain ${hook} { type filter hook ${hook} priority 0; ${loopback} lo accept; ${rule};\n}\n`;
    const table = chain('input', 'iif', rules.in) + chain('output', 'oif', rules.out);
    execFileSync('ip', ['netns', 'exec', own, 'nft', '-f', '-'], {
      input: `flush ruleset\ntable inet faults {\n${table.replaceAll(';', '\n')}}\n`,
      stdio: ['pipe', 'ignore', 'pipe'],
    });
  }

  const shape = (...how: string[]) =>
    ends.every(
      ({ name, device }) =>
        spawnSync('tc', ['-n', name, 'qdisc', 'replace', 'dev', device, 'root', ...how]).status === 0,
    );

  return {
    address,
    within: ['nsenter', `--net=${NAMES}/${own}`],
    cut(direction) {
      firewall({
        ...(direction === 'out' ? {} : { in: 'drop' }),
        ...(direction === 'in' ? {} : { out: 'drop' }),
      });
    },
    close: (direction, port) => firewall({ [direction]: `tcp dport ${port} drop` }),
    slow() {
      const loss = 'numgen random mod 100 < 2 drop';
      firewall({ in: loss, out: loss });
      if (shape('netem', 'delay', '150ms', '50ms', 'rate', '2mbit'))
        return 'netem: 150 ± 50 ms, 2 Mbit/s; 2 % lost';
      if (shape('tbf', 'rate', '1mbit', 'burst', '4kb', 'latency', '800ms'))
        return 'tbf: 1 Mbit/s, up to 800 ms; 2 % lost';
      throw new Error('tc knows neither netem nor tbf here');
    },
    heal() {
      firewall({});
      for (const { name, device } of ends)
        spawnSync('tc', ['-n', name, 'qdisc', 'del', 'dev', device, 'root']);
    },
  };
}

/** Of processes that were killed before they could. */
function removeLeftovers(): void {
  if (!existsSync(NAMES)) return;
  for (const name of readdirSync(NAMES)) {
    const owner = name.startsWith(PREFIX) ? /-(\d+)-[^-]+$/.exec(name)?.[1] : undefined;
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) spawnSync('ip', ['netns', 'del', name]);
  }
}

function freeNet(): string {
  const first = process.pid % 250;
  for (let tries = 0; tries < 250; tries++) {
    const net = `${NET}.${(first + tries) % 250}`;
    if (run('ip', '-4', '-o', 'addr', 'show', 'to', `${net}.0/24`) === '') return net;
  }
  throw new Error(`no network of ${NET}.0.0/16 is free`);
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
