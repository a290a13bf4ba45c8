/** What the server does when its database refuses a write. */
import assert from 'node:assert/strict';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { versatile } from '../agents.ts';
import { type Atoll, deployProgram, processesWith, startAtoll, until } from '../atoll.ts';
import { processesOf } from '../traces.ts';

async function bridgesOf(atoll: Atoll): Promise<number[]> {
  const own = processesOf(basename(atoll.dataDir));
  return (await processesWith('/opt/atoll/bridge')).filter((pid) => own.includes(pid));
}

test('a session whose first event cannot be written keeps no sandbox and no place', async () => {
  await using atoll = await startAtoll({ args: ['--capacity', '1'] });
  await deployProgram(atoll.client, 'versatile', versatile);
  const database = new DatabaseSync(join(atoll.dataDir, 'atoll.db'));
  database.exec(
    `CREATE TRIGGER refuse BEFORE INSERT ON log_chunks BEGIN SELECT raise(ABORT, 'no room'); END`,
  );
  const creating = atoll.client.call('session.create', { agent: 'versatile' });
  await assert.rejects(creating, { code: 'storage_failed' });
  // It was being made when the refusal came.
  await delay(1_000);
  await until(async () => (await bridgesOf(atoll)).length === 0);
  database.exec('DROP TRIGGER refuse');
  database.close();
  const { sessions } = await atoll.client.call('session.list', {});
  const { session } = await atoll.client.call('session.show', { sessionId: sessions[0]?.id ?? '' });
  assert.equal(session.status, 'failed');
  await atoll.client.call('session.create', { agent: 'versatile' });
});
