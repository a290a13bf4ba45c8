/**
 * Which runner takes a sandbox. Demands first, then the runner that holds the session's workspace, then the one with the
 * smallest share of its places taken. A place counts from the moment that it was chosen, so that those who ask at the
 * same time do not all get the same answer; it is taken by compare-and-set, so that two of them cannot win the last one.
 * One that is heard and cannot be asked anything has many free places, and gets what is new only when there is no other.
 */
import { AtollError } from '@atoll/protocol/errors';
import { rest } from '../rest.ts';
import type { AbsentRunner, RegisteredRunner, RunnerRegistry } from '../runners/registry.ts';

export type Demands = {
  labels?: Record<string, string> | undefined;
  executorProfile?: string | undefined;
  driver?: string | undefined;
  /** What it is to run in, which needs a driver with images. */
  image?: string | undefined;
  /** Of the machine in all. */
  memoryMb?: number | undefined;
};

export type Placement = {
  runner: RegisteredRunner;
  /** The place is taken in the store, or will not be. */
  settled(): void;
};

export type Scheduler = {
  /** Rejects with `no_runner`, and who was considered and why not. */
  place(request: PlaceRequest): Promise<Placement>;
  /** As `place`, but one that an earlier server knew, and that could take it, may come back for a moment. */
  placeSoon(request: PlaceRequest): Promise<Placement>;
};

export type PlaceRequest = { tenant: string; demands: Demands; preferred: string | null };

/** Whoever asks for what nobody has, hears so within five seconds on a busy machine. */
const COME_BACK_MS = 4_000;

const imageDrivers = ['docker'];
const none: ReadonlyMap<string, number> = new Map();

export function createScheduler(options: {
  runners: Pick<RunnerRegistry, 'all' | 'reserved' | 'absent' | 'next'>;
}): Scheduler {
  const { runners } = options;
  /** Chosen, and not in the store yet. */
  const chosen = new Map<string, number>();

  function count(runnerId: string, by: 1 | -1): void {
    const left = (chosen.get(runnerId) ?? 0) + by;
    if (left > 0) chosen.set(runnerId, left);
    else chosen.delete(runnerId);
  }

  /** The preferred one while it has room. */
  function best(
    fitting: readonly RegisteredRunner[],
    reserved: ReadonlyMap<string, number>,
    preferred: string | null,
  ): RegisteredRunner | undefined {
    const share = ({ id, info }: RegisteredRunner) =>
      ((reserved.get(id) ?? 0) + (chosen.get(id) ?? 0)) / Math.max(1, info.capacity);
    const kept = fitting.find((runner) => runner.id === preferred);
    if (kept && (fitting.length === 1 || share(kept) < 1)) return kept;
    return fitting.reduce<RegisteredRunner | undefined>(
      (least, runner) => (least && share(least) <= share(runner) ? least : runner),
      undefined,
    );
  }

  async function place({ tenant, demands, preferred }: PlaceRequest): Promise<Placement> {
    const refusals: string[] = [];
    const fitting = runners.all().filter((runner) => {
      // To whom it is not there, it is not named either (I12).
      if (runner.tenant !== undefined && runner.tenant !== tenant) return false;
      const refusal = whyNot(runner, demands);
      if (refusal !== undefined) refusals.push(`${runner.id}: ${refusal}`);
      return refusal === undefined;
    });
    // Whose files are there waits for it while its lease runs; not for one that came back and is as silent as before.
    const reachable = fitting.filter(
      ({ id, link }) => !link.doubted?.() && (id === preferred || link.reached?.() !== false),
    );
    const eligible = reachable.length > 0 ? reachable : fitting;
    const reserved = eligible.length < 2 ? none : await runners.reserved();
    // From here to the counting, nobody else chooses.
    const runner = best(eligible, reserved, preferred);
    if (!runner)
      throw new AtollError('no_runner', refusals.length > 0 ? refusals.join('; ') : 'no runner is connected');
    count(runner.id, 1);
    let open = true;
    return {
      runner,
      settled() {
        if (open) count(runner.id, -1);
        open = false;
      },
    };
  }

  async function placeSoon(request: PlaceRequest): Promise<Placement> {
    let late: Promise<boolean> | undefined;
    for (let waits = true; ; ) {
      const next = runners.next().then(() => true);
      try {
        return await place(request);
      } catch (error) {
        if (!(error instanceof AtollError && error.code === 'no_runner')) throw error;
        const absent = await runners.absent(request.tenant);
        const able = absent.filter((runner) => whyNot(runner, request.demands) === undefined);
        if (!waits || able.length === 0) throw withAbsent(error, able, request);
      }
      late ??= rest(COME_BACK_MS).then(() => false);
      waits = await Promise.race([next, late]);
    }
  }

  return { place, placeSoon };
}

/** Of another tenant's nobody hears (I12). */
function withAbsent(
  refusal: AtollError,
  able: readonly AbsentRunner[],
  { tenant }: PlaceRequest,
): AtollError {
  const own = able.filter((runner) => runner.tenant === tenant);
  const missing = own.map(({ id }) => `${id}: did not come back since the server was started`);
  return new AtollError('no_runner', [refusal.detail, ...missing].join('; '));
}

function whyNot(runner: Pick<RegisteredRunner, 'info' | 'draining'>, demands: Demands): string | undefined {
  const { info } = runner;
  if (runner.draining) return 'takes no more sandboxes';
  const { executorProfile, driver, image, memoryMb } = demands;
  for (const [name, value] of Object.entries(demands.labels ?? {})) {
    if (info.labels[name] !== value) return `label ${name} is not ${value}`;
  }
  if (executorProfile !== undefined && !info.executorProfiles.includes(executorProfile))
    return `does not offer the executor profile ${executorProfile} ("atoll doctor" there says why)`;
  if (driver !== undefined && !info.drivers.includes(driver)) return `does not offer the driver ${driver}`;
  if (image !== undefined && !info.drivers.some((name) => imageDrivers.includes(name)))
    return `none of its drivers has images (${info.drivers.join(', ')})`;
  const has = Number(info.labels.memoryMb ?? Number.POSITIVE_INFINITY);
  if (memoryMb !== undefined && memoryMb > has) return `has ${has} MB of memory in all, not ${memoryMb}`;
  return undefined;
}
