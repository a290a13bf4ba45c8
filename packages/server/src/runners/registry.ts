/**
 * The runners this coordinator knows: their rows, and the link to each that is there. Capacity is reserved by
 * compare-and-set in the store, never counted from memory.
 */
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import type { RunnerLink } from '@atoll/protocol/runner-link';
import { type RunnerShown, runnerId } from '@atoll/protocol/schemas/runner';
import type { Access } from '../keys/access.ts';
import { commitTime } from '../store/commit-time.ts';
import { cursorAt, paged } from '../store/cursor.ts';
import type { Step, Store } from '../store/store.ts';
import type { RunnerRow } from '../store/tables.ts';
import { goneLink } from './gone-link.ts';
import type { RemoteLink } from './remote-link.ts';

export type RunnerInfo = {
  hostname: string;
  address: string;
  link: 'local' | 'http' | 'grpc';
  capacity: number;
  labels: Record<string, string>;
  executorProfiles: readonly string[];
  drivers: readonly string[];
  version: string;
};

export type RegisteredRunner = {
  id: string;
  info: RunnerInfo;
  link: RunnerLink & Partial<Pick<RemoteLink, 'reached' | 'doubted'>>;
  /** Whose sessions it may serve (I12); undefined: everybody's. */
  tenant: string | undefined;
  draining: boolean;
};

/** As it was when an earlier server heard of it. */
export type AbsentRunner = Pick<RegisteredRunner, 'id' | 'info' | 'draining'> & { tenant: string };

/** As what somebody registered: the embedded runner is there as long as the server, and serves every tenant. */
export type Registration = {
  id: string;
  tenant: string | undefined;
  leaseUntil: string | null;
  /** Of its callback token: SHA-256, hex. */
  callbackHash: string | null;
  /** Places of what it is known to hold still. */
  reserved: number;
};

export type RunnerRegistry = {
  /** Makes the runner known; without a registration it holds nothing: whatever it ran before is over. */
  attach(link: RunnerLink, info: RunnerInfo, registration?: Registration): Promise<void>;
  /**
   * Whether they may register that name (I12): a runner keeps its tenant, and what other tenants left on it is not theirs.
   */
  mayTake(access: Access, runnerId: string): Promise<boolean>;
  /** Whether a runner that an earlier server heard of may go on under that name, and another one asks for it. */
  isTaken(runnerId: string, callbackHash: string): Promise<boolean>;
  /** Whatever an earlier server gave a lease has come by now, or has stopped. */
  leasesOver(): void;
  /** It is not there any more. Nothing happens when another registration took its place. */
  lost(runnerId: string, registrationId: string): Promise<void>;
  /** It gets no more sandboxes. Throws `not_found`. */
  drain(runnerId: string): Promise<void>;
  /** Until when its lease runs now. Shown from now on, and on disk with the next `keepLeases`. */
  renewed(runnerId: string, leaseUntil: string): void;
  /** Writes the leases that were renewed since the last time, all in one commit. */
  keepLeases(): Promise<void>;
  /** Those that are there. */
  all(): readonly RegisteredRunner[];
  /** Those that an earlier server gave a lease, that may come yet, and may serve that tenant then. */
  absent(tenant: string): Promise<readonly AbsentRunner[]>;
  /** Resolves when the next one is there. */
  next(): Promise<void>;
  find(runnerId: string): RegisteredRunner | undefined;
  /** Throws `no_runner`. */
  get(runnerId: string): RegisteredRunner;
  /** To one that is not there, a link that says so. */
  link(runnerId: string): RunnerLink;
  /** Takes one place; the commit fails with `no_capacity` when none is left. */
  reserve(runnerId: string): Step;
  release(runnerId: string): Step;
  /** How many of each runner's places are taken. */
  reserved(): Promise<ReadonlyMap<string, number>>;
  usage(): Promise<{ capacity: number; reserved: number }>;
  list(
    access: Access,
    page: { limit: number; cursor?: string | undefined },
  ): Promise<{ runners: RunnerShown[]; nextCursor: string | null }>;
  /** Rejects with `not_found`. */
  show(access: Access, runnerId: string): Promise<RunnerShown>;
};

type Known = RegisteredRunner & { registrationId: string; leaseUntil: string | null; leaseKept: boolean };

const EMBEDDED = { tenant: undefined, leaseUntil: null, callbackHash: null, reserved: 0 };
/** Of rows whose runner serves every tenant. */
const SHARED_TENANT = 'default';

export function createRunnerRegistry(options: { store: Store; now: () => number }): RunnerRegistry {
  const { store, now } = options;
  const { sql } = store;
  const runners = new Map<string, Known>();
  let earlierLeases = true;
  let next = Promise.withResolvers<void>();

  async function attach(link: RunnerLink, info: RunnerInfo, registration?: Registration): Promise<void> {
    const { runnerId } = link;
    const { id, tenant, leaseUntil, callbackHash, reserved } = registration ?? {
      id: newId('job'),
      ...EMBEDDED,
    };
    const known = await store.first(
      sql.selectFrom('runners').select(['epoch', 'created_at']).where('id', '=', runnerId),
    );
    const row = {
      tenant: tenant ?? SHARED_TENANT,
      hostname: info.hostname,
      address: info.address,
      link: info.link,
      status: 'available' as const,
      registration_id: id,
      epoch: (known?.epoch ?? 0) + 1,
      capacity: info.capacity,
      reserved,
      labels: JSON.stringify(info.labels),
      executor_profiles: JSON.stringify(info.executorProfiles),
      drivers: JSON.stringify(info.drivers),
      version: info.version,
      lease_until: leaseUntil,
      callback_hash: callbackHash,
    };
    const created = known?.created_at ?? new Date(now()).toISOString();
    const query = sql
      .insertInto('runners')
      .values({ id: runnerId, created_at: created, ...row })
      .onConflict((conflict) => conflict.column('id').doUpdateSet(row));
    await store.commit([{ query }, ...registrationSteps(runnerId, row)]);
    const lease = { leaseUntil, leaseKept: true };
    runners.set(runnerId, {
      id: runnerId,
      info,
      link,
      tenant,
      draining: false,
      registrationId: id,
      ...lease,
    });
    next.resolve();
    next = Promise.withResolvers();
  }

  const endRegistration = (runnerId: string): Step => ({
    query: sql
      .updateTable('registrations')
      .set((of) => ({ ended_at: commitTime(of) }))
      .where('runner_id', '=', runnerId)
      .where('ended_at', 'is', null),
  });

  /** Whatever it was registered as before is over. */
  function registrationSteps(
    runnerId: string,
    row: Pick<RunnerRow, 'registration_id' | 'hostname' | 'capacity' | 'tenant'>,
  ): Step[] {
    const { registration_id: id, hostname, capacity, tenant } = row;
    const registration = { id, tenant, runner_id: runnerId, hostname, capacity, ended_at: null };
    const insert = sql
      .insertInto('registrations')
      .values((of) => ({ ...registration, created_at: commitTime(of) }));
    return [endRegistration(runnerId), { query: insert }];
  }

  function update(runnerId: string, change: Partial<Pick<RunnerRow, 'status' | 'lease_until'>>): Step {
    return { query: sql.updateTable('runners').set(change).where('id', '=', runnerId) };
  }

  /** One that only an earlier server heard of is lost until it registers anew. */
  function shown(row: RunnerRow): RunnerShown {
    const known = runners.get(row.id);
    return show(known ? { ...row, lease_until: known.leaseUntil } : { ...row, status: 'lost' });
  }

  /** One statement for all of them: a row may say the end of the lease that ends last. */
  async function keepLeases(): Promise<void> {
    const renewed = [...runners.values()].filter(({ leaseKept }) => !leaseKept);
    const [last] = renewed.map(({ leaseUntil }) => leaseUntil ?? '').sort((a, b) => (a < b ? 1 : -1));
    if (last === undefined) return;
    for (const runner of renewed) runner.leaseKept = true;
    const ids = renewed.map(({ id }) => id);
    await store.commit([
      { query: sql.updateTable('runners').set({ lease_until: last }).where('id', 'in', ids) },
    ]);
  }

  /** Whether a tenant but that one has a sandbox there, or a session, whose files may be there. */
  async function servesOthers(runnerId: string, tenant: string): Promise<boolean> {
    const sandbox = sql
      .selectFrom('sandboxes')
      .select('id')
      .where('runner_id', '=', runnerId)
      .where('tenant', '!=', tenant)
      .where('ended_at', 'is', null)
      .limit(1);
    const session = sql
      .selectFrom('sessions')
      .select('id')
      .where('runner_id', '=', runnerId)
      .where('tenant', '!=', tenant)
      .where('status', 'not in', ['ended', 'failed'])
      .limit(1);
    return Boolean((await store.first(sandbox)) ?? (await store.first(session)));
  }

  async function mayTake(access: Access, runnerId: string): Promise<boolean> {
    if (access.crossesTenants) return true;
    const known = await store.first(sql.selectFrom('runners').select('tenant').where('id', '=', runnerId));
    if (!known) return true;
    return access.may(known.tenant) && !(await servesOthers(runnerId, access.tenant));
  }

  async function isTaken(runnerId: string, callbackHash: string): Promise<boolean> {
    if (!earlierLeases || runners.has(runnerId)) return false;
    const held = sql.selectFrom('runners').select('callback_hash').where('id', '=', runnerId);
    const known = await store.first(held.where('status', '!=', 'lost'));
    return (known?.callback_hash ?? callbackHash) !== callbackHash;
  }

  async function absent(tenant: string): Promise<AbsentRunner[]> {
    if (!earlierLeases) return [];
    const left = sql
      .selectFrom('runners')
      .selectAll()
      .where('status', '!=', 'lost')
      .where('link', '!=', 'local')
      .where('tenant', 'in', [tenant, SHARED_TENANT])
      .orderBy('id');
    const rows = await store.all(left);
    const away = rows.filter(({ id }) => !runners.has(id));
    return away.map((row) => ({
      ...{ id: row.id, tenant: row.tenant, info: show(row) },
      draining: row.status === 'draining',
    }));
  }

  return {
    attach,
    mayTake,
    isTaken,
    absent,
    next: () => next.promise,
    leasesOver() {
      earlierLeases = false;
    },
    async lost(runnerId, registrationId) {
      const known = runners.get(runnerId);
      if (known?.registrationId !== registrationId) return;
      runners.delete(runnerId);
      const change = { status: 'lost' as const, lease_until: known.leaseUntil };
      await store.commit([update(runnerId, change), endRegistration(runnerId)]);
    },
    async drain(runnerId) {
      const runner = runners.get(runnerId);
      if (!runner) throw new AtollError('not_found', `no runner ${runnerId} is connected`);
      runner.draining = true;
      await store.commit([update(runnerId, { status: 'draining' })]);
    },
    renewed(runnerId, leaseUntil) {
      const known = runners.get(runnerId);
      if (known) Object.assign(known, { leaseUntil, leaseKept: false });
    },
    keepLeases,
    all: () => [...runners.values()],
    find: (runnerId) => runners.get(runnerId),
    link: (runnerId) => runners.get(runnerId)?.link ?? goneLink(runnerId),
    get(runnerId) {
      const runner = runners.get(runnerId);
      if (!runner) throw new AtollError('no_runner', `runner ${runnerId} is not connected`);
      return runner;
    },
    reserve: (runnerId) => ({
      query: sql
        .updateTable('runners')
        .set((row) => ({ reserved: row('reserved', '+', 1) }))
        .where('id', '=', runnerId)
        .whereRef('reserved', '<', 'capacity'),
      mustChange: { code: 'no_capacity' },
    }),
    release: (runnerId) => ({
      query: sql
        .updateTable('runners')
        .set((row) => ({ reserved: row('reserved', '-', 1) }))
        .where('id', '=', runnerId)
        .where('reserved', '>', 0),
    }),
    async reserved() {
      const rows = await store.all(sql.selectFrom('runners').select(['id', 'reserved']));
      return new Map(rows.map(({ id, reserved }) => [id, reserved]));
    },
    async usage() {
      const query = sql
        .selectFrom('runners')
        .where('id', 'in', [...runners.keys()])
        .select((row) => [
          row.fn.sum<number>('capacity').as('capacity'),
          row.fn.sum<number>('reserved').as('reserved'),
        ]);
      const sums = await store.first(query);
      return { capacity: Number(sums?.capacity ?? 0), reserved: Number(sums?.reserved ?? 0) };
    },
    async list(access, { limit, cursor }) {
      let query = sql
        .selectFrom('runners')
        .selectAll()
        .orderBy('id')
        .limit(limit + 1);
      if (!access.crossesTenants) query = query.where('tenant', '=', access.tenant);
      if (cursor !== undefined) query = query.where('id', '>', cursorAt(runnerId, cursor));
      const { page, nextCursor } = paged(await store.all(query), limit, ({ id }) => id);
      return { runners: page.map(shown), nextCursor };
    },
    async show(access, runnerId) {
      const row = await store.first(sql.selectFrom('runners').selectAll().where('id', '=', runnerId));
      if (!row || !access.may(row.tenant)) throw new AtollError('not_found', `no runner ${runnerId}`);
      return shown(row);
    },
  };
}

function show(row: RunnerRow): RunnerShown {
  const { id, hostname, address, link, capacity, reserved, version, lease_until: until } = row;
  const full = row.status === 'available' && reserved >= capacity;
  return {
    id,
    hostname,
    address,
    link,
    status: full ? 'busy' : row.status,
    lease: until === null ? null : { until },
    capacity,
    reserved,
    labels: JSON.parse(row.labels) as RunnerShown['labels'],
    executorProfiles: JSON.parse(row.executor_profiles) as string[],
    drivers: JSON.parse(row.drivers) as string[],
    version,
  };
}

/** Of a commit that reserves: gives back `no_capacity`, and throws everything else. */
export function whenFull(error: unknown): AtollError {
  if (error instanceof AtollError && error.code === 'no_capacity') return error;
  throw error;
}
