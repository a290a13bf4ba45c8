import { AtollError } from '@atoll/protocol/errors';

/**
 * The system calls a sandbox may not make: a BPF program (seccomp(2), `struct sock_filter` in the kernel's byte
 * order) handed to bwrap by `--seccomp FD`. It is a deny list, since what runs inside is any program at all;
 * what it takes away is what an agent has no use for and kernels have been broken through: new user namespaces,
 * odd socket families, keys, bpf, perf, io_uring, userfaultfd, the mount family, modules. Refused calls fail
 * with EPERM, so programs go on; `clone3` fails with ENOSYS, because its flags lie in memory a filter cannot
 * read, and libc then falls back to `clone`, whose flags it can.
 */
export type Architecture = 'x64' | 'arm64';

/** The filter as bytes, for this machine unless told otherwise. */
export function seccompProgram(architecture: string = process.arch): Uint8Array {
  if (architecture !== 'x64' && architecture !== 'arm64') {
    throw new AtollError('sandbox_failed', `There is no system call filter for ${architecture}.`);
  }
  return assemble([
    ...onlyArchitecture(architecture),
    load(offsetNumber),
    ...refuseForeignAbi(architecture),
    ...calls.flatMap(([, x64, arm64]) => {
      const number = architecture === 'x64' ? x64 : arm64;
      return number === none ? [] : [jumpUnlessEqual(number, 1), result(errno.EPERM)];
    }),
    ...whenCall(filtered.clone3[architecture], [result(errno.ENOSYS)]),
    ...whenCall(filtered.clone[architecture], refuseFlag(0, cloneNewUser)),
    ...whenCall(filtered.unshare[architecture], refuseFlag(0, cloneNewUser)),
    ...whenCall(filtered.ioctl[architecture], refuseValues(1, terminalInjection)),
    ...whenCall(filtered.socket[architecture], onlySockets()),
    ...whenCall(filtered.socketpair[architecture], onlySockets()),
    result(allow),
  ]);
}

const none = -1;

/** [name, x86_64 number, aarch64 number] */
const calls: readonly (readonly [string, number, number])[] = [
  // Mounts and roots
  ['mount', 165, 40],
  ['umount2', 166, 39],
  ['pivot_root', 155, 41],
  ['chroot', 161, 51],
  ['open_tree', 428, 428],
  ['move_mount', 429, 429],
  ['fsopen', 430, 430],
  ['fsconfig', 431, 431],
  ['fsmount', 432, 432],
  ['fspick', 433, 433],
  ['mount_setattr', 442, 442],
  ['open_tree_attr', 467, 467],
  ['setns', 308, 268],
  // Files by handle, which step over directories' permissions
  ['name_to_handle_at', 303, 264],
  ['open_by_handle_at', 304, 265],
  // Keys, which are kept per uid and not per namespace
  ['add_key', 248, 217],
  ['request_key', 249, 218],
  ['keyctl', 250, 219],
  // Ways into the kernel
  ['bpf', 321, 280],
  ['perf_event_open', 298, 241],
  ['io_uring_setup', 425, 425],
  ['io_uring_enter', 426, 426],
  ['io_uring_register', 427, 427],
  ['userfaultfd', 323, 282],
  ['kcmp', 312, 272],
  ['fanotify_init', 300, 262],
  ['lookup_dcookie', 212, 18],
  ['syslog', 103, 116],
  // The machine as a whole
  ['kexec_load', 246, 104],
  ['kexec_file_load', 320, 294],
  ['create_module', 174, none],
  ['init_module', 175, 105],
  ['finit_module', 313, 273],
  ['delete_module', 176, 106],
  ['get_kernel_syms', 177, none],
  ['query_module', 178, none],
  ['reboot', 169, 142],
  ['swapon', 167, 224],
  ['swapoff', 168, 225],
  ['quotactl', 179, 60],
  ['quotactl_fd', 443, 443],
  ['nfsservctl', 180, 42],
  ['acct', 163, 89],
  ['settimeofday', 164, 170],
  ['adjtimex', 159, 171],
  ['clock_settime', 227, 112],
  ['clock_adjtime', 305, 266],
  ['sethostname', 170, 161],
  ['setdomainname', 171, 162],
  ['vhangup', 153, 58],
  ['iopl', 172, none],
  ['ioperm', 173, none],
  ['uselib', 134, none],
  ['ustat', 136, none],
  ['_sysctl', 156, none],
  ['vserver', 236, none],
];

/** Calls that are judged by an argument. */
const filtered = {
  clone: { x64: 56, arm64: 220 },
  clone3: { x64: 435, arm64: 435 },
  unshare: { x64: 272, arm64: 97 },
  ioctl: { x64: 16, arm64: 29 },
  socket: { x64: 41, arm64: 198 },
  socketpair: { x64: 53, arm64: 199 },
} as const satisfies Record<string, Record<Architecture, number>>;

const auditArchitecture = { x64: 0xc000003e, arm64: 0xc00000b7 } as const;
const x32Bit = 0x40000000;
const cloneNewUser = 0x10000000;
/** TIOCSTI types into the terminal a sandbox was started from; TIOCLINUX pastes into a console. */
const terminalInjection = [0x5412, 0x541c];
const family = { unix: 1, inet: 2, inet6: 10, netlink: 16 } as const;
const netlinkRoute = 0;

/** For a filter in another form. */
export const refusedCalls: readonly string[] = calls.map(([name]) => name);
export const familiesAllowed: readonly number[] = Object.values(family);
export const seccompFlags = { cloneNewUser, terminalInjection, netlinkRoute, family } as const;

const errno = { EPERM: 0x00050000 | 1, ENOSYS: 0x00050000 | 38, EAFNOSUPPORT: 0x00050000 | 97 } as const;
const allow = 0x7fff0000;
const killProcess = 0x80000000;

/** Offsets in `struct seccomp_data`; arguments are 64 bits wide and little-endian on both machines. */
const offsetNumber = 0;
const offsetArchitecture = 4;
const offsetArgument = (index: number): number => 16 + 8 * index;

type Instruction = { code: number; ifTrue: number; ifFalse: number; value: number };

const load = (offset: number): Instruction => ({ code: 0x20, ifTrue: 0, ifFalse: 0, value: offset });
const result = (value: number): Instruction => ({ code: 0x06, ifTrue: 0, ifFalse: 0, value });
const jumpUnlessEqual = (value: number, skip: number): Instruction => ({
  code: 0x15,
  ifTrue: 0,
  ifFalse: skip,
  value,
});
const jumpUnlessAnyBit = (value: number, skip: number): Instruction => ({
  code: 0x45,
  ifTrue: 0,
  ifFalse: skip,
  value,
});

function onlyArchitecture(architecture: Architecture): Instruction[] {
  return [
    load(offsetArchitecture),
    { code: 0x15, ifTrue: 1, ifFalse: 0, value: auditArchitecture[architecture] },
    result(killProcess),
  ];
}

/** x32 calls carry the x86_64 architecture word and other numbers: the whole list could be walked around. */
function refuseForeignAbi(architecture: Architecture): Instruction[] {
  return architecture === 'x64' ? [jumpUnlessAnyBit(x32Bit, 1), result(errno.ENOSYS)] : [];
}

/** Runs `body` for one call. Every body ends in a result, so the call number need not be loaded again. */
function whenCall(number: number, body: Instruction[]): Instruction[] {
  return [jumpUnlessEqual(number, body.length), ...body];
}

function refuseFlag(argument: number, flag: number): Instruction[] {
  return [load(offsetArgument(argument)), jumpUnlessAnyBit(flag, 1), result(errno.EPERM), result(allow)];
}

function refuseValues(argument: number, values: readonly number[]): Instruction[] {
  const refusals = values.flatMap((value) => [jumpUnlessEqual(value, 1), result(errno.EPERM)]);
  return [load(offsetArgument(argument)), ...refusals, result(allow)];
}

/** Of netlink only routing, which `getifaddrs` asks; the other protocols are the kernel's long tail. */
function onlySockets(): Instruction[] {
  const allowed = [family.unix, family.inet, family.inet6];
  return [
    load(offsetArgument(0)),
    ...allowed.flatMap((value) => [jumpUnlessEqual(value, 1), result(allow)]),
    jumpUnlessEqual(family.netlink, 3),
    load(offsetArgument(2)),
    jumpUnlessEqual(netlinkRoute, 1),
    result(allow),
    result(errno.EAFNOSUPPORT),
  ];
}

function assemble(instructions: readonly Instruction[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(instructions.length * 8));
  for (const [index, { code, ifTrue, ifFalse, value }] of instructions.entries()) {
    view.setUint16(index * 8, code, true);
    view.setUint8(index * 8 + 2, ifTrue);
    view.setUint8(index * 8 + 3, ifFalse);
    view.setUint32(index * 8 + 4, value, true);
  }
  return new Uint8Array(view.buffer);
}
