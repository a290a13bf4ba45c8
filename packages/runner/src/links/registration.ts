/**
 * A runner's own side of its lease: it registers, renews by heartbeats, and stops acting a moment before the lease ends
 * by a clock that goes on while the machine sleeps. So whatever its coordinator gives to another runner later, this one
 * does not work on any more (I6).
 *
 * Phases: `unregistered` → `registered` (heartbeats) → `expired` (nothing of it runs) → either again `registered`, when a
 * heartbeat is answered after all, or `unregistered`, when it is told that the registration is over. Then what it holds may
 * run elsewhere: it stands still until the next coordinator looked through it.
 */
import { AtollError, type ErrorCode } from '@atoll/protocol/errors';
import type { internalOperations } from '@atoll/protocol/internal-operations';
import type { SandboxEnded } from '@atoll/protocol/runner-link';
import type * as v from 'valibot';
import type { CoordinatorRequests } from '../coordinator/requests.ts';
import type { Logger } from '../logger.ts';
import type { HeldLink } from './held-link.ts';

/** It stops so long before the end: an answer of its may be under way. */
const MARGIN_MS = 2_000;
const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 5_000;

/** No later attempt would go better. */
const FATAL: readonly ErrorCode[] = [
  'wrong_version',
  'unauthorized',
  'forbidden',
  'invalid_request',
  'already_exists',
];

export type RunnerDescription = v.InferOutput<(typeof internalOperations)['runner.register']['params']>;

type Lease = { leaseMs: number; heartbeatMs: number };

/** What a runner asks for its lease, on whatever wire. */
export type LeaseRequests = {
  register(description: RunnerDescription): Promise<{ registrationId: string; lease: Lease }>;
  /** Rejects with `stale_epoch` when the registration is over. */
  heartbeat(of: {
    runnerId: string;
    registrationId: string;
    ended: readonly SandboxEnded[];
  }): Promise<{ lease: Lease }>;
  /** Resolves with how many places are taken still. */
  deregister(of: { runnerId: string; registrationId: string }): Promise<{ sandboxes: number }>;
};

/** Over HTTP. */
export function leaseRequests(requests: CoordinatorRequests): LeaseRequests {
  return {
    register: (description) => requests.call('runner.register', description),
    heartbeat: (beat) => requests.call('runner.heartbeat', beat),
    deregister: (of) => requests.call('runner.deregister', of),
  };
}

export type Registration = {
  /** Resolves when it is registered. Rejects when it never will be; until then it tries. */
  registered(): Promise<void>;
  /** Whether the lease, less a margin, still runs, and what is here is wanted. */
  mayAct(): boolean;
  /** The coordinator looked through what is here, and ended what it does not want. */
  lookedThrough(): void;
  /** Tells the coordinator that nothing more is to be placed here, and resolves with how many places are taken still. */
  deregister(): Promise<number>;
  stop(): void;
};

export function createRegistration(options: {
  requests: LeaseRequests;
  link: Pick<HeldLink, 'ended' | 'acknowledgeEnded' | 'onEnded'>;
  description: RunnerDescription;
  /** Milliseconds of a clock that only runs forward, and goes on while the machine sleeps. */
  clock: () => number;
  /** The lease is over, by its own count; it may be renewed yet. */
  onExpired: () => void;
  onRenewed: () => void;
  /** It cannot go on: the coordinator refuses it for good. */
  onFatal: (error: AtollError) => void;
  /** Whoever is not registered at the first attempt never is. */
  once?: boolean;
  random?: () => number;
  logger: Logger;
}): Registration {
  const { requests, link, description, clock, onExpired, onRenewed, onFatal, logger } = options;
  const { random = Math.random } = options;
  const { runnerId } = description;
  const first = Promise.withResolvers<void>();
  let registrationId: string | undefined;
  let endsAtMs = Number.NEGATIVE_INFINITY;
  let heartbeatMs = FIRST_PAUSE_MS;
  let expired = false;
  /** Of this registration, the coordinator has not looked yet at what is here. */
  let unseen = false;
  let expiry: NodeJS.Timeout | undefined;
  let stopping = false;
  let wake = () => {};

  link.onEnded(() => wake());

  /** From when the request was sent: the coordinator counts from later. */
  function leased(sentAtMs: number, lease: { leaseMs: number; heartbeatMs: number }): void {
    endsAtMs = sentAtMs + lease.leaseMs - MARGIN_MS;
    heartbeatMs = lease.heartbeatMs;
    goOn();
    clearTimeout(expiry);
    watch();
  }

  function goOn(): void {
    if (!expired || unseen || clock() >= endsAtMs) return;
    expired = false;
    onRenewed();
  }

  function expire(): void {
    if (expired) return;
    expired = true;
    logger.warn({ runnerId }, 'the lease is over: the coordinator was not reached');
    onExpired();
  }

  function watch(): void {
    expiry = setTimeout(
      () => {
        // Not yet, where the timer was early.
        if (clock() < endsAtMs) return watch();
        expire();
      },
      Math.max(1, endsAtMs - clock()),
    );
    expiry.unref();
  }

  async function register(): Promise<void> {
    const sentAtMs = clock();
    // The timer does not go on while the machine sleeps.
    if (Number.isFinite(endsAtMs) && sentAtMs >= endsAtMs) expire();
    unseen = true;
    const { registrationId: id, lease } = await requests.register(description);
    registrationId = id;
    leased(sentAtMs, lease);
    logger.info({ runnerId, registrationId }, 'registered');
    first.resolve();
  }

  async function beat(of: string): Promise<void> {
    const sentAtMs = clock();
    const ended = link.ended();
    const { lease } = await requests.heartbeat({ runnerId, registrationId: of, ended });
    link.acknowledgeEnded(ended.map(({ sandboxId }) => sandboxId));
    leased(sentAtMs, lease);
  }

  async function run(): Promise<void> {
    for (let pauseMs = FIRST_PAUSE_MS; !stopping; ) {
      try {
        await (registrationId === undefined ? register() : beat(registrationId));
        pauseMs = FIRST_PAUSE_MS;
        // What ended meanwhile is told at once.
        if (link.ended().length === 0) await rest(heartbeatMs);
      } catch (error) {
        if (stopping) return;
        if (error instanceof AtollError && error.code === 'stale_epoch') {
          registrationId = undefined;
          continue;
        }
        if (error instanceof AtollError && isFatal(error)) {
          first.reject(error);
          return onFatal(error);
        }
        logger.warn({ runnerId, err: error }, 'the coordinator grants no lease yet; it is asked again');
        await rest(pauseMs * (0.5 + random() / 2));
        pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS);
      }
    }
  }

  function isFatal({ code }: AtollError): boolean {
    if (FATAL.includes(code) || (options.once === true && registrationId === undefined)) return true;
    // Of one that worked before, the issuer may think again.
    return code === 'issuer_refused' && !Number.isFinite(endsAtMs);
  }

  /** Until then, or until something happens that is to be told. */
  async function rest(ms: number): Promise<void> {
    const rested = Promise.withResolvers<void>();
    const timer = setTimeout(rested.resolve, ms);
    wake = rested.resolve;
    await rested.promise;
    clearTimeout(timer);
  }

  // Whoever does not wait for it hears of it by `onFatal`.
  first.promise.catch(() => undefined);
  void run();
  return {
    registered: () => first.promise,
    mayAct: () => !expired && clock() < endsAtMs,
    lookedThrough() {
      unseen = false;
      goOn();
    },
    async deregister() {
      if (registrationId === undefined) return 0;
      const answer = await requests.deregister({ runnerId, registrationId });
      return answer.sandboxes;
    },
    stop() {
      stopping = true;
      clearTimeout(expiry);
      wake();
    },
  };
}
