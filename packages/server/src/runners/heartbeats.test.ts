/** What heartbeats cost, counted: a fleet sends them all day. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { PROTOCOL_VERSION } from '@atoll/protocol/wire';
import { access } from '../keys/access.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import type { Store } from '../store/store.ts';
import { goneLink } from './gone-link.ts';
import { createRegistrations } from './registrations.ts';
import { createRunnerRegistry } from './registry.ts';
import type { RemoteLink } from './remote-link.ts';

const RUNNERS = 50;
const key = access('t', 'runner');
const root = mkdtempSync(join(tmpdir(), 'atoll-heartbeats-'));
const database = await openSqlite({ path: join(root, 'atoll.db') });
const asked = { store: 0, clock: 0 };
const store = counting(createSqliteStore(database, await loadKysely()));
let nowMs = Date.parse('2030-01-01T00:00:00Z');
const runners = createRunnerRegistry({ store, now: () => nowMs });
const registrations = createRegistrations({
  runners,
  now: () => nowMs,
  clock() {
    asked.clock++;
    return nowMs;
  },
  connect({ runnerId }): RemoteLink {
    const link = goneLink(runnerId);
    return { ...link, inventory: async () => [], reattach: link.command, lost() {} };
  },
  onLost: async () => undefined,
  onSandboxEnded: async () => undefined,
  heldBy: async () => 10,
  onRegistered: () => undefined,
  onAgain: () => undefined,
  onDraining: () => undefined,
});
const fleet: { runnerId: string; registrationId: string }[] = [];

/** Every call of it counts. */
function counting(of: Store): Store {
  const counted =
    <A extends unknown[], R>(call: (...given: A) => R) =>
    (...given: A) => {
      asked.store++;
      return call(...given);
    };
  return { ...of, all: counted(of.all), first: counted(of.first), commit: counted(of.commit) } as Store;
}

before(async () => {
  for (let i = 0; i < RUNNERS; i++) {
    const runnerId = `runner-${i}`;
    const { registrationId } = await registrations.register(key, {
      ...{ runnerId, hostname: 'h', address: 'http://127.0.0.1:1', capacity: 20, labels: {} },
      ...{ executorProfiles: [], drivers: [], version: '0', protocolVersion: PROTOCOL_VERSION },
      callbackToken: 'a-callback-token-of-a-test',
    });
    fleet.push({ runnerId, registrationId });
  }
  asked.store = 0;
});
after(async () => {
  registrations.close();
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

async function beatAll(): Promise<void> {
  for (const runner of fleet) await registrations.heartbeat(key, { ...runner, ended: [] });
}

test('a heartbeat asks nothing of the store, and the clock no oftener for a larger fleet', async () => {
  asked.clock = 0;
  await beatAll();
  assert.deepEqual(asked, { store: 0, clock: 2 * RUNNERS });
});

test('leases that were renewed are shown at once, and kept by one commit for all', async () => {
  nowMs += 5_000;
  await beatAll();
  const until = new Date(nowMs + 15_000).toISOString();
  const shown = async (of = runners) => (await of.show(key, 'runner-7')).lease?.until;
  assert.equal(await shown(), until);
  asked.store = 0;
  await registrations.expire();
  await registrations.expire();
  assert.equal(asked.store, 1);
  const { runners: all } = await createRunnerRegistry({ store, now: () => nowMs }).list(key, { limit: 100 });
  assert.deepEqual([...new Set(all.map(({ lease }) => lease?.until))], [until]);
});

test('of one that is lost, its row says when its lease was over', async () => {
  nowMs += 5_000;
  const [gone, ...others] = fleet.splice(0);
  fleet.push(...others);
  assert.ok(gone);
  await registrations.heartbeat(key, { ...gone, ended: [] });
  const until = new Date(nowMs + 15_000).toISOString();
  nowMs += 10_000;
  await beatAll();
  nowMs += 7_000;
  await registrations.expire();
  const { status, lease } = await runners.show(key, gone.runnerId);
  assert.deepEqual([status, lease], ['lost', { until }]);
});
