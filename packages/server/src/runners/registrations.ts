/**
 * Runners elsewhere, from their registration to their loss. A registration is one incarnation of a runner: what an
 * earlier one says is refused (I6), and the same one that asks again, because an answer was lost, gets the same. Its lease is renewed by heartbeats; time is a clock that nobody sets back, and that
 * goes on while a machine sleeps.
 *
 * A runner: `register` → heartbeats renew → (`drain`) → lost, `LEASE_MS` and `MARGIN_MS` after the last heartbeat. By
 * then it has stopped acting by itself: its own count of the lease ends earlier.
 */
import { createHash } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import type { SandboxEnded } from '@atoll/protocol/runner-link';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import type { Access } from '../keys/access.ts';
import { type NewlyPlaced, notePlaced } from './newly-placed.ts';
import type { RunnerInfo, RunnerRegistry } from './registry.ts';
import type { RemoteLink } from './remote-link.ts';

export const LEASE_MS = 15_000;
export const HEARTBEAT_MS = 5_000;
/** Between the moment when a runner stops acting and the one when its sessions go elsewhere. */
export const MARGIN_MS = 2_000;

type Registered = OperationResult<'runner.register'>;
type Lease = Registered['lease'];

export type Registrations = {
  /**
   * `dialled`: the link of a runner that called; the one that it has is kept where the registration is. Rejects with
   * `wrong_version`, `already_exists`; with `runner_unreachable` as `heartbeat` does.
   */
  register(access: Access, asked: NewRegistration, dialled?: RemoteLink): Promise<Registered>;
  /**
   * Rejects with `stale_epoch` when that registration is over: the runner has to register anew. With
   * `runner_unreachable` while only the runner can speak: the lease that there is runs out then.
   */
  heartbeat(access: Access, beat: OperationParams<'runner.heartbeat'>): Promise<{ lease: Lease }>;
  deregister(access: Access, of: OperationParams<'runner.deregister'>): Promise<{ sandboxes: number }>;
  /** Loses whoever's lease is over, and keeps how long those of the others run; to be called every second or so. */
  expire(): Promise<void>;
  close(): void;
};

export type NewRegistration = OperationParams<'runner.register'>;

type Live = {
  readonly registrationId: string;
  readonly callbackToken: string;
  readonly incarnation: string | undefined;
  readonly access: Access;
  readonly link: RemoteLink;
  readonly dialled: boolean;
  /** By `clock`. */
  endsAtMs: number;
};

export type RegistrationsOptions = {
  runners: RunnerRegistry;
  /** Milliseconds since 1970, for what is shown. */
  now: () => number;
  /** Milliseconds of a clock that only runs forward. */
  clock: () => number;
  /** `doubted`: see RemoteLink. */
  connect: (registration: NewRegistration, doubted: boolean) => RemoteLink;
  /** What it held is over. It may be back at once, as another registration. */
  onLost: (runnerId: string) => Promise<void>;
  onSandboxEnded: (runnerId: string, ended: SandboxEnded) => Promise<void>;
  /** How many of its places are taken by what it is known to hold still. */
  heldBy: (runnerId: string) => Promise<number>;
  /** It is there; what it really holds is to be looked at, but for what was placed since. */
  onRegistered: (runnerId: string, link: RemoteLink, placed: NewlyPlaced) => void;
  /** It has what it had, and waits to hear once more that it was looked through. */
  onAgain: (runnerId: string, link: RemoteLink) => void;
  /** It gets no more sandboxes, and should get rid of those that it has. */
  onDraining: (runnerId: string) => void;
};

export function createRegistrations(options: RegistrationsOptions): Registrations {
  const { runners, now, clock, connect, onLost, onSandboxEnded, onDraining } = options;
  const live = new Map<string, Live>();
  /** Lost while they could not be reached; each until it registers again. */
  const silent = new Set<string>();
  /** One registration or loss of a runner after the other. */
  const changing = new Map<string, Promise<unknown>>();

  async function register(access: Access, asked: NewRegistration, dialled?: RemoteLink): Promise<Registered> {
    const { runnerId } = asked;
    if (asked.protocolVersion !== PROTOCOL_VERSION)
      throw new AtollError(
        'wrong_version',
        `the runner speaks protocol version ${asked.protocolVersion}, this coordinator ${PROTOCOL_VERSION}`,
      );
    return inTurn(runnerId, () => replace(access, asked, dialled));
  }

  async function inTurn<T>(runnerId: string, change: () => Promise<T>): Promise<T> {
    const changed = Promise.allSettled([changing.get(runnerId)]).then(change);
    changing.set(runnerId, changed);
    try {
      return await changed;
    } finally {
      if (changing.get(runnerId) === changed) changing.delete(runnerId);
    }
  }

  async function replace(
    access: Access,
    asked: NewRegistration,
    dialled: RemoteLink | undefined,
  ): Promise<Registered> {
    const { runnerId, callbackToken, incarnation } = asked;
    const held = live.get(runnerId);
    const connected = runners.find(runnerId);
    const taken = `runner ${runnerId} is another one, and it is there`;
    if (connected && !held) throw new AtollError('already_exists', taken);
    if (held && (held.callbackToken !== callbackToken || held.access.tenant !== access.tenant))
      throw new AtollError('already_exists', taken);
    const callbackHash = createHash('sha256').update(callbackToken).digest('hex');
    if (await runners.isTaken(runnerId, callbackHash)) throw new AtollError('already_exists', taken);
    if (held && isAgain(held, asked, dialled)) return again(runnerId, held);
    if (!(await runners.mayTake(access, runnerId)))
      throw new AtollError('already_exists', `runner ${runnerId} is another tenant's, or serves one`);
    if (held) await lose(runnerId, held);
    const doubted = silent.delete(runnerId);
    const { link, placed } = notePlaced(dialled ?? connect(asked, doubted));
    const registrationId = newId('job');
    const lease = newLease();
    const tenant = access.crossesTenants ? undefined : access.tenant;
    const reserved = await options.heldBy(runnerId);
    const registration = {
      ...{ id: registrationId, tenant, callbackHash, reserved },
      leaseUntil: lease.until,
    };
    await runners.attach(link, infoOf(asked, dialled ? 'grpc' : 'http'), registration);
    live.set(runnerId, {
      ...{ registrationId, callbackToken, incarnation, access, link },
      dialled: dialled !== undefined,
      endsAtMs: clock() + LEASE_MS,
    });
    options.onRegistered(runnerId, link, placed);
    return { registrationId, lease };
  }

  /** The same process, within its lease: nothing of it is over. */
  function isAgain(held: Live, { incarnation }: NewRegistration, dialled: RemoteLink | undefined): boolean {
    const same = incarnation !== undefined && incarnation === held.incarnation;
    return same && held.dialled === (dialled !== undefined) && !isLate(held);
  }

  function again(runnerId: string, held: Live): Registered {
    const lease = renew(runnerId, held);
    options.onAgain(runnerId, held.link);
    return { registrationId: held.registrationId, lease };
  }

  function renew(runnerId: string, held: Live): Lease {
    // It would keep its sessions, and nobody could speak to them.
    if (held.link.reached?.() === false)
      throw new AtollError(
        'runner_unreachable',
        'the coordinator does not reach this runner at the address that it registered with',
      );
    held.endsAtMs = clock() + LEASE_MS;
    const lease = newLease();
    runners.renewed(runnerId, lease.until);
    return lease;
  }

  function newLease(): Lease {
    return {
      leaseMs: LEASE_MS,
      heartbeatMs: HEARTBEAT_MS,
      until: new Date(now() + LEASE_MS).toISOString(),
    };
  }

  function current(access: Access, of: { runnerId: string; registrationId: string }): Live {
    const held = live.get(of.runnerId);
    if (!held || held.registrationId !== of.registrationId || held.access.tenant !== access.tenant)
      throw new AtollError('stale_epoch', 'this registration is over: register anew');
    return held;
  }

  async function lose(runnerId: string, held: Live): Promise<void> {
    live.delete(runnerId);
    if (held.link.reached?.() === false || held.link.doubted?.()) silent.add(runnerId);
    // Whoever waits for it hears of it whatever becomes of its row.
    held.link.lost();
    try {
      await runners.lost(runnerId, held.registrationId);
    } finally {
      await onLost(runnerId);
    }
  }

  const isLate = ({ endsAtMs }: Live, nowMs = clock()) => endsAtMs + MARGIN_MS <= nowMs;

  async function loseLate(): Promise<void> {
    const nowMs = clock();
    const late = [...live].filter(([, held]) => isLate(held, nowMs));
    await Promise.all(late.map(([runnerId, held]) => inTurn(runnerId, () => loseIfLate(runnerId, held))));
  }

  /** Since it was seen to be late, another registration may have taken its place. */
  async function loseIfLate(runnerId: string, held: Live): Promise<void> {
    if (live.get(runnerId) === held && isLate(held)) await lose(runnerId, held);
  }

  return {
    register,
    async heartbeat(access, { runnerId, registrationId, ended }) {
      // One that comes after the end renews nothing, whether or not somebody looked in time.
      const known = live.get(runnerId);
      if (known && isLate(known)) await inTurn(runnerId, () => loseIfLate(runnerId, known));
      const held = current(access, { runnerId, registrationId });
      const lease = renew(runnerId, held);
      // Heard when it is answered: the runner forgets it then.
      for (const sandbox of ended) await onSandboxEnded(runnerId, withoutUndefined(sandbox));
      return { lease };
    },
    async deregister(access, { runnerId, registrationId }) {
      current(access, { runnerId, registrationId });
      await runners.drain(runnerId);
      onDraining(runnerId);
      return { sandboxes: (await runners.reserved()).get(runnerId) ?? 0 };
    },
    async expire() {
      await loseLate();
      await runners.keepLeases();
    },
    close() {
      for (const { link } of live.values()) link.lost();
      live.clear();
    },
  };
}

function infoOf(
  { hostname, address, capacity, labels, executorProfiles, drivers, version }: NewRegistration,
  link: 'http' | 'grpc',
): RunnerInfo {
  return { hostname, address, link, capacity, labels, executorProfiles, drivers, version };
}

type ToldEnded = OperationParams<'runner.heartbeat'>['ended'][number];

function withoutUndefined({ sessionId, ...ended }: ToldEnded): SandboxEnded {
  return sessionId === undefined ? ended : { ...ended, sessionId };
}
