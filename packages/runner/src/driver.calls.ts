import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { createBench } from './driver.bench.ts';
import type { Driver } from './driver.ts';

/** System call numbers on this machine. */
const machine = { x64: 0, arm64: 1 }[process.arch as 'x64' | 'arm64'];
const numbers = {
  getpid: [39, 172],
  unshare: [272, 97],
  clone3: [435, 435],
  clone: [56, 220],
  keyctl: [250, 219],
  bpf: [321, 280],
  io_uring_setup: [425, 425],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  setns: [308, 268],
  mount: [165, 40],
  fsopen: [430, 430],
  open_by_handle_at: [304, 265],
  name_to_handle_at: [303, 264],
} as const;

const EPERM = 1;
const EAFNOSUPPORT = 97;
const ENOSYS = 38;

/**
 * System calls that no sandbox may make where the host's kernel answers them. Raw ones are made by perl, which every
 * Debian has; `err` is the errno of a call, 0 when it worked. As a control, what is refused inside works on the host.
 */
export function callsContract(name: string, make: (dataDir: string) => Driver): void {
  describe(`system calls: ${name}`, { concurrency: false }, () => {
    const bench = createBench(make);
    before(() => bench.open());
    after(() => bench.close());
    const inside = async (...command: string[]) => (await bench.runCommand(command)).output;
    const perl = (script: string) => inside('perl', '-e', script);
    const errnoOf = async (call: keyof typeof numbers, ...args: number[]) => {
      const list = [numbers[call][machine], ...args];
      return Number(await perl(`my $r = syscall(${list.join(', ')}); print $r == -1 ? $!+0 : 0;`));
    };

    it('opens only everyday socket families', async () => {
      const families = {
        unix: 1,
        inet: 2,
        inet6: 10,
        netlink: 16,
        vsock: 40,
        alg: 38,
        packet: 17,
        key: 15,
        tipc: 30,
        xdp: 44,
      };
      const script = Object.entries(families).map(
        ([name, family]) =>
          `print "${name} ", (socket(my $s${family}, ${family}, ${family === 38 ? 5 : 2}, 0) ? 0 : $!+0), "\\n";`,
      );
      const lines = (await perl(script.join(''))).trim().split('\n');
      const errors = Object.fromEntries(lines.map((line) => line.split(' ')));
      for (const name of ['unix', 'inet', 'inet6', 'netlink']) assert.equal(errors[name], '0', name);
      for (const name of ['vsock', 'alg', 'packet', 'key', 'tipc', 'xdp'])
        assert.equal(errors[name], String(EAFNOSUPPORT), name);
      const netfilter = await perl('print socket(my $s, 16, 3, 12) ? 0 : $!+0');
      assert.equal(netfilter, String(EAFNOSUPPORT));
    });

    it('makes no user namespaces', async () => {
      assert.equal(await errnoOf('unshare', 0x10000000), EPERM);
      assert.equal(await errnoOf('clone', 0x10000011, 0, 0, 0, 0), EPERM);
      assert.equal(await errnoOf('clone3', 0, 0), ENOSYS);
      assert.match(await inside('unshare', '--user', 'true'), /Operation not permitted/);
      // Allowed: unsharing what is not a namespace.
      assert.equal(await errnoOf('unshare', 0x400), 0);
    });

    it('refuses the calls kernels are broken by', async () => {
      assert.equal(await errnoOf('getpid'), 0);
      assert.equal(await errnoOf('keyctl', 0, -3, 1), EPERM);
      assert.equal(await errnoOf('bpf', 0, 0, 0), EPERM);
      assert.equal(await errnoOf('io_uring_setup', 1, 0), EPERM);
      assert.equal(await errnoOf('perf_event_open', 0, 0, 0, 0, 0), EPERM);
      assert.equal(await errnoOf('userfaultfd', 1), EPERM);
      assert.equal(await errnoOf('setns', 0, 0), EPERM);
      assert.equal(await errnoOf('mount', 0, 0, 0, 0, 0), EPERM);
      assert.equal(await errnoOf('fsopen', 0, 0), EPERM);
      assert.equal(await errnoOf('open_by_handle_at', 0, 0, 0), EPERM);
      assert.equal(await errnoOf('name_to_handle_at', 0, 0, 0, 0, 0), EPERM);
      // Not from the kernel: without the filter these arguments fail in other ways.
      const onHost = (name: keyof typeof numbers, args: string) =>
        execFileSync('perl', ['-e', `syscall(${numbers[name][machine]}, ${args}); print $!+0`], {
          encoding: 'utf8',
        });
      assert.notEqual(onHost('io_uring_setup', '1, 0'), String(EPERM));
      assert.notEqual(onHost('setns', '0, 0'), String(EPERM));
    });

    it('refuses foreign instruction sets', { skip: process.arch !== 'x64' }, async () => {
      // getpid as x32: the same call with bit 30 set.
      const said = await perl('$| = 1; print "begun "; print syscall(0x40000027) == -1 ? $!+0 : 0');
      // Refused, or ended for it.
      assert.match(said, new RegExp(`^begun (${ENOSYS})?$`));
    });

    it('types into no terminal', async () => {
      const ioctl = (request: string) =>
        perl(`my $c = "x"; print defined(ioctl(STDIN, ${request}, $c)) ? 0 : $!+0`);
      assert.equal(await ioctl('0x5412'), String(EPERM));
      assert.equal(await ioctl('0x541C'), String(EPERM));
      // FIONREAD, allowed: /dev/null answers that it is no terminal.
      assert.equal(await ioctl('0x541B'), '25');
      assert.match(await inside('sh', '-c', ': < /dev/tty'), /No such device/);
    });
  });
}
