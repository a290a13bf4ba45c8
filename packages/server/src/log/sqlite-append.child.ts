/**
 * Run by sqlite.test.ts as a process of its own: appends without end and prints every acknowledged seq, until it is
 * killed or, on a full disk, told what the store said. Arguments: the database, and `full` for the latter.
 */

import { rmSync, writeSync } from 'node:fs';
import { AtollError } from '@atoll/protocol/errors';
import { sqlSteps } from '../store/sqlite.ts';
import { openSqlite } from '../store/sqlite-database.ts';
import { chunkOf, framesOf } from './log.contract.ts';
import { createSqliteLog } from './sqlite.ts';

const [, , path = '', mode = ''] = process.argv;
const database = await openSqlite({ path });
const log = createSqliteLog(database);
const print = (line: string) => writeSync(1, `${line}\n`);

async function makeLog(id: string): Promise<void> {
  await database.run({
    steps: sqlSteps(log.create({ id, tenant: 'a', sessionId: 's', epoch: 1, createdAt: '' })),
  });
}

/** Eight logs together, so that the kill finds groups of many units. */
async function appendForever(id: string): Promise<void> {
  await makeLog(id);
  for (let seq = 1; ; seq += 10) {
    await log.append(chunkOf(id, seq, 10));
    print(`${id} ${seq + 9}`);
  }
}

/** Appends until the disk is full, then makes room and appends again. */
async function appendUntilFull(id: string): Promise<void> {
  await makeLog(id);
  let seq = 1;
  const big = (firstSeq: number) => chunkOf(id, firstSeq, 100, { frames: [framesOf(firstSeq, 100, 600)] });
  try {
    for (; ; seq += 100) await log.append(big(seq));
  } catch (error) {
    print(`refused ${error instanceof AtollError ? `${error.code}: ${error.detail}` : error}`);
  }
  const head = await log.head(id);
  print(`head ${head?.lastSeq} of ${seq - 1}`);
  rmSync(`${path}.ballast`);
  const next = (head?.lastSeq ?? 0) + 1;
  await log.append(chunkOf(id, next, 1));
  print(`usable ${next}`);
  await database.close();
  print('closed');
}

if (mode === 'full') await appendUntilFull('log_full');
else await Promise.all(Array.from({ length: 8 }, (_, n) => appendForever(`log_${n}`)));
