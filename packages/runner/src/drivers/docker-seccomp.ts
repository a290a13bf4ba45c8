import { familiesAllowed, refusedCalls, seccompFlags } from './seccomp.ts';

/**
 * The filter of `seccomp.ts` as Docker takes it, so that a container may call what any other sandbox may. Arguments are
 * compared in their lower 32 bits, which is all that the kernel looks at.
 */
export function dockerSeccomp(): string {
  const { cloneNewUser, terminalInjection, netlinkRoute, family } = seccompFlags;
  const low = 0xffffffff;
  const is = (index: number, value: number, mask = low) => ({
    index,
    value: mask,
    valueTwo: value,
    op: 'SCMP_CMP_MASKED_EQ',
  });
  const refuse = (names: readonly string[], errnoRet: number, args: object[] = []) => ({
    names,
    action: 'SCMP_ACT_ERRNO',
    errnoRet,
    args,
  });
  const refusedFamilies = Array.from({ length: maxFamily }, (_, value) => value).filter(
    (value) => !familiesAllowed.includes(value),
  );
  return JSON.stringify({
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: [process.arch === 'arm64' ? 'SCMP_ARCH_AARCH64' : 'SCMP_ARCH_X86_64'],
    syscalls: [
      refuse(refusedCalls, EPERM),
      refuse(['clone3'], ENOSYS),
      refuse(['clone', 'unshare'], EPERM, [is(0, cloneNewUser, cloneNewUser)]),
      ...terminalInjection.map((request) => refuse(['ioctl'], EPERM, [is(1, request)])),
      ...refusedFamilies.map((value) => refuse(SOCKETS, EAFNOSUPPORT, [is(0, value)])),
      refuse(SOCKETS, EAFNOSUPPORT, [
        is(0, family.netlink),
        { index: 2, value: netlinkRoute, valueTwo: 0, op: 'SCMP_CMP_NE' },
      ]),
    ],
  });
}

const EPERM = 1;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;
const SOCKETS = ['socket', 'socketpair'];
/** Beyond the last there is: the kernel itself refuses what lies above. */
const maxFamily = 64;
