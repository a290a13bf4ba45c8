import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import { jobStatuses, sandboxStatuses, sessionStatuses, turnStatuses } from '@atoll/protocol/statuses';
import { isOver, jobTable, move, sandboxTable, sessionTable, type Table, turnTable } from './status.ts';

type AnyTable = Table<string, string>;

const tables: [string, AnyTable, readonly string[]][] = [
  ['session', sessionTable as AnyTable, sessionStatuses],
  ['turn', turnTable as AnyTable, turnStatuses],
  ['sandbox', sandboxTable as AnyTable, sandboxStatuses],
  ['job', jobTable as AnyTable, jobStatuses],
];

for (const [name, table, statuses] of tables) {
  test(`the ${name} table is total: every status has every trigger, and leads to a known status`, () => {
    assert.deepEqual(Object.keys(table).sort(), [...statuses].sort());
    const triggers = Object.keys(Object.values(table)[0] ?? {}).sort();
    for (const row of Object.values(table)) {
      assert.deepEqual(Object.keys(row).sort(), triggers);
      for (const next of Object.values(row)) assert.ok(next === null || statuses.includes(next));
    }
  });

  test(`every ${name} status can be reached from the first one`, () => {
    const reached = new Set([statuses[0] ?? '']);
    for (const status of reached)
      for (const next of Object.values(table[status] ?? {})) if (next !== null) reached.add(next);
    assert.deepEqual([...reached].sort(), [...statuses].sort());
  });

  test(`an illegal ${name} move is a typed error that says what was tried`, () => {
    for (const [from, row] of Object.entries(table)) {
      for (const [trigger, next] of Object.entries(row)) {
        if (next !== null) assert.equal(move(table, from, trigger), next);
        else
          assert.throws(
            () => move(table, from, trigger),
            (error) =>
              error instanceof AtollError &&
              error.code === 'illegal_transition' &&
              error.detail.includes(trigger),
          );
      }
    }
  });
}

test('a session that is over stays over', () => {
  for (const status of sessionStatuses.filter(isOver)) {
    for (const next of Object.values(sessionTable[status])) assert.ok(next === null || isOver(next));
  }
});
