import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createBench } from '../driver.bench.ts';
import { driverContract } from '../driver.contract.ts';
import { createBubblewrapDriver } from './bubblewrap.ts';

driverContract('bubblewrap', (dataDir) => createBubblewrapDriver({ dataDir }));
driverContract('bubblewrap without cgroups', (dataDir) =>
  createBubblewrapDriver({ dataDir, cgroups: false }),
);

test('what only sandboxes need is made with the first of them', async () => {
  const bench = createBench((dataDir) => createBubblewrapDriver({ dataDir }));
  await bench.open();
  const etc = join(bench.dataDir, 'system', 'etc');
  assert.equal(existsSync(etc), false);
  await bench.run('');
  assert.equal(existsSync(etc), true);
  await bench.close();
});
