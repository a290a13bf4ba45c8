import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seccompProgram } from './seccomp.ts';

/** Runs a filter over one call, as the kernel would (seccomp(2), classic BPF). */
function judge(program: Uint8Array, arch: number, call: number, args: readonly number[] = []): number {
  const view = new DataView(program.buffer);
  const data = [call, arch, 0, 0, ...args.flatMap((arg) => [arg, 0])];
  let accumulator = 0;
  for (let at = 0; at < program.length / 8; at++) {
    const code = view.getUint16(at * 8, true);
    const value = view.getUint32(at * 8 + 4, true);
    if (code === 0x06) return value;
    if (code === 0x20) accumulator = data[value / 4] ?? 0;
    else {
      const holds = code === 0x15 ? accumulator === value : (accumulator & value) !== 0;
      at += view.getUint8(at * 8 + (holds ? 2 : 3));
    }
  }
  assert.fail('The program runs off its end.');
}

const allow = 0x7fff0000;
const refuse = (errno: number): number => 0x00050000 | errno;

const machines = [
  { arch: 'x64', audit: 0xc000003e, read: 0, mount: 165, clone: 56, clone3: 435, socket: 41, ioctl: 16 },
  { arch: 'arm64', audit: 0xc00000b7, read: 63, mount: 40, clone: 220, clone3: 435, socket: 198, ioctl: 29 },
] as const;

/** [x86_64, aarch64]. Inside, the kernel refuses some of these by itself: only here is it sure that the filter does. */
const refused = {
  keyctl: [250, 219],
  add_key: [248, 217],
  request_key: [249, 218],
  bpf: [321, 280],
  io_uring_setup: [425, 425],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  setns: [308, 268],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  fsopen: [430, 430],
  open_tree: [428, 428],
  move_mount: [429, 429],
  open_by_handle_at: [304, 265],
  name_to_handle_at: [303, 264],
  init_module: [175, 105],
  finit_module: [313, 273],
  kexec_load: [246, 104],
  reboot: [169, 142],
} as const;

describe('seccompProgram', () => {
  for (const [at, { arch, audit }] of machines.entries())
    it(`refuses what no agent has a use for on ${arch}`, () => {
      const program = seccompProgram(arch);
      for (const [name, numbers] of Object.entries(refused))
        assert.equal(judge(program, audit, numbers[at] ?? -1), refuse(1), name);
      // AF_VSOCK, AF_ALG, AF_PACKET, AF_KEY, AF_XDP.
      const { socket } = machines[at] ?? assert.fail();
      for (const family of [40, 38, 17, 15, 44])
        assert.equal(judge(program, audit, socket, [family]), refuse(97), `family ${family}`);
    });

  for (const { arch, audit, read, mount, clone, clone3, socket, ioctl } of machines) {
    it(`judges calls on ${arch}`, () => {
      const program = seccompProgram(arch);
      assert.equal(judge(program, audit, read), allow);
      assert.equal(judge(program, audit, mount), refuse(1));
      assert.equal(judge(program, audit, clone, [0x11]), allow);
      assert.equal(judge(program, audit, clone, [0x10000011]), refuse(1));
      assert.equal(judge(program, audit, clone3), refuse(38));
      for (const family of [1, 2, 10]) assert.equal(judge(program, audit, socket, [family]), allow);
      for (const family of [0, 17, 38, 40]) assert.equal(judge(program, audit, socket, [family]), refuse(97));
      assert.equal(judge(program, audit, socket, [16, 3, 0]), allow);
      assert.equal(judge(program, audit, socket, [16, 3, 12]), refuse(97));
      assert.equal(judge(program, audit, ioctl, [0, 0x5412]), refuse(1));
      assert.equal(judge(program, audit, ioctl, [0, 0x5413]), allow);
    });

    it(`ends foreign architectures on ${arch}`, () => {
      assert.equal(judge(seccompProgram(arch), 0x40000003, read), 0x80000000);
    });
  }

  it('refuses x32 calls', () => {
    assert.equal(judge(seccompProgram('x64'), 0xc000003e, 0x40000000), refuse(38));
  });

  it('has none for other machines', () => {
    assert.throws(() => seccompProgram('riscv64'), { code: 'sandbox_failed' });
  });
});
