/** What becomes of a session that waits for its runner is found out once, whoever looks. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { goneLink } from '../runners/gone-link.ts';
import type { RemoteLink } from '../runners/remote-link.ts';
import { loadKysely } from '../store/kysely.ts';
import { createSqliteStore } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import { createAdoption } from './adoption.ts';
import { initialState } from './fold.ts';
import type { LiveSession, LiveTurn } from './live-session.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-adoption-'));
const store = createSqliteStore(await openSqlite({ path: join(root, 'atoll.db') }), await loadKysely());
after(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const gone = goneLink('one');
const link: RemoteLink = { ...gone, inventory: async () => [], reattach: gone.command, lost() {} };

/** At work in a sandbox of that runner, as the log says. */
function atWork(name: string): LiveSession {
  const turn = { id: `turn_${name}`, interrupted: false } as LiveTurn;
  const session: Partial<LiveSession> = {
    id: `ses_${name}`,
    runnerId: 'one',
    epoch: 1,
    status: 'running',
    state: { ...initialState, turn: turn.id, sandboxId: `sbx_${name}` },
    turns: new Map([[turn.id, turn]]),
    asked: new Map(),
    unheard: new Map(),
    log: { line: 0, lastSeq: 1 } as LiveSession['log'],
  };
  return session as LiveSession;
}

async function setUp({ lost = async () => {} }: { lost?: (session: LiveSession) => Promise<void> } = {}) {
  const told: string[] = [];
  const adoption = createAdoption({
    store,
    turns: { goOn: ({ id }) => void told.push(`${id} goes on`), advance: () => undefined },
    isThere: () => false,
    async lose(session, { detail }) {
      told.push(`${session.id} lost: ${detail}`);
      await lost(session);
    },
    snapshots: { nearest: async () => undefined },
    snapshotting: { afterTurn: () => undefined },
  });
  const sessions = [atWork('a'), atWork('b')] as const;
  for (const session of sessions) await adoption.revive(session);
  const there = sessions.map(({ state, turns }) => ({
    id: `${state.sandboxId}`,
    epoch: 1,
    status: 'ready' as const,
    lastLine: 0,
    commands: [...turns.keys()],
  }));
  return { adoption, sessions, there, told };
}

test('one that went on elsewhere, while those before it were looked at, is not lost again', async () => {
  const { adoption, sessions, told } = await setUp({
    // As of a runner that is lost meanwhile: its sessions go on in other sandboxes.
    lost: async () => adoption.known(sessions[1]),
  });
  await adoption.adopt(link, []);
  assert.deepEqual(told, ['ses_a lost: The runner came back without this sandbox.']);
});

test('one that is being lost is not taken back, and one that was taken back is not lost', async () => {
  const late = await setUp();
  await Promise.all([late.adoption.endAll(), late.adoption.adopt(link, late.there)]);
  assert.deepEqual(
    late.told.map((told) => told.slice(0, 10)),
    ['ses_a lost', 'ses_b lost'],
  );
  const inTime = await setUp();
  await inTime.adoption.adopt(link, inTime.there);
  await inTime.adoption.endAll();
  assert.deepEqual(inTime.told, ['ses_a goes on', 'ses_b goes on']);
});

test('its place is taken while it is being lost', async () => {
  const { adoption } = await setUp();
  const ended = adoption.endAll();
  assert.equal(adoption.placesOn('one'), 2);
  await ended;
  assert.equal(adoption.placesOn('one'), 0);
});

test('of the commands that a runner tells of one sandbox, it is asked to end no more than it can hold', async () => {
  const { adoption, there, told } = await setUp();
  const ended: string[] = [];
  const counting = {
    ...link,
    cancel: async ({ commandId }: { commandId: string }) => void ended.push(commandId),
  };
  const others = Array.from({ length: 1_000 }, (_, n) => `cmd_${n}`);
  await adoption.adopt(
    counting,
    there.map((held) => ({ ...held, commands: [...others, ...held.commands] })),
  );
  assert.equal(ended.length, 2 * 256);
  assert.deepEqual(told, ['ses_a goes on', 'ses_b goes on']);
});
