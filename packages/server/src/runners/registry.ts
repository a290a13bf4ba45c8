/**
 * The runners this coordinator knows: their rows, and the link to each. Capacity is reserved by compare-and-set in the
 * store, never counted from memory.
 */
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import type { RunnerLink } from '@atoll/protocol/runner-link';
import { commitTime } from '../store/commit-time.ts';
import type { Step, Store } from '../store/store.ts';
import type { RunnerRow } from '../store/tables.ts';

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

export type RegisteredRunner = { id: string; info: RunnerInfo; link: RunnerLink };

export type RunnerRegistry = {
  /** Makes the runner known, with nothing reserved: whatever it ran before is over. */
  attach(link: RunnerLink, info: RunnerInfo): Promise<void>;
  all(): readonly RegisteredRunner[];
  /** Throws `no_runner`. */
  get(runnerId: string): RegisteredRunner;
  /** Takes one place; the commit fails with `no_capacity` when none is left. */
  reserve(runnerId: string): Step;
  release(runnerId: string): Step;
  /** How many of each runner's places are taken. */
  reserved(): Promise<ReadonlyMap<string, number>>;
  usage(): Promise<{ capacity: number; reserved: number }>;
};

export function createRunnerRegistry(options: { store: Store; now: () => number }): RunnerRegistry {
  const { store, now } = options;
  const { sql } = store;
  const runners = new Map<string, RegisteredRunner>();

  async function attach(link: RunnerLink, info: RunnerInfo): Promise<void> {
    const known = await store.first(
      sql.selectFrom('runners').select(['epoch', 'created_at']).where('id', '=', link.runnerId),
    );
    const row = {
      hostname: info.hostname,
      address: info.address,
      link: info.link,
      status: 'available' as const,
      registration_id: newId('job'),
      epoch: (known?.epoch ?? 0) + 1,
      capacity: info.capacity,
      reserved: 0,
      labels: JSON.stringify(info.labels),
      executor_profiles: JSON.stringify(info.executorProfiles),
      drivers: JSON.stringify(info.drivers),
      version: info.version,
      lease_until: null,
    };
    const created = known?.created_at ?? new Date(now()).toISOString();
    const query = sql
      .insertInto('runners')
      .values({ id: link.runnerId, tenant: 'default', created_at: created, ...row })
      .onConflict((conflict) => conflict.column('id').doUpdateSet(row));
    await store.commit([{ query }, ...registrationSteps(link.runnerId, row)]);
    runners.set(link.runnerId, { id: link.runnerId, info, link });
  }

  /** Whatever it was registered as before is over. */
  function registrationSteps(
    runnerId: string,
    row: Pick<RunnerRow, 'registration_id' | 'hostname' | 'capacity'>,
  ): Step[] {
    const { registration_id: id, hostname, capacity } = row;
    const registration = { id, tenant: 'default', runner_id: runnerId, hostname, capacity, ended_at: null };
    return [
      {
        query: sql
          .updateTable('registrations')
          .set((of) => ({ ended_at: commitTime(of) }))
          .where('runner_id', '=', runnerId)
          .where('ended_at', 'is', null),
      },
      {
        query: sql
          .insertInto('registrations')
          .values((of) => ({ ...registration, created_at: commitTime(of) })),
      },
    ];
  }

  return {
    attach,
    all: () => [...runners.values()],
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
        .select((row) => [
          row.fn.sum<number>('capacity').as('capacity'),
          row.fn.sum<number>('reserved').as('reserved'),
        ]);
      const sums = await store.first(query);
      return { capacity: Number(sums?.capacity ?? 0), reserved: Number(sums?.reserved ?? 0) };
    },
  };
}

/** Of a commit that reserves: gives back `no_capacity`, and throws everything else. */
export function whenFull(error: unknown): AtollError {
  if (error instanceof AtollError && error.code === 'no_capacity') return error;
  throw error;
}
