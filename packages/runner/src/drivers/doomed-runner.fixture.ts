import assert from 'node:assert/strict';
import { join } from 'node:path';
import { HOST_IMAGE, testEngine } from '../../../../testing/docker.ts';
import { gvisorPlatform } from '../../../../testing/gvisor.ts';
import type { Driver } from '../driver.ts';
import { createBubblewrapDriver } from './bubblewrap.ts';
import { createDockerDriver } from './docker.ts';
import { createGvisorDriver } from './gvisor.ts';
import { createProcessDriver } from './process.ts';

/** A runner to be killed by a test: `<driver> <dataDir> <word>`; says `up` once a sandbox runs. */
const [, , name = '', dataDir = '', word = ''] = process.argv;
const makers: Record<string, () => Driver> = {
  process: () => createProcessDriver({ dataDir }),
  bubblewrap: () => createBubblewrapDriver({ dataDir }),
  'bubblewrap without cgroups': () => createBubblewrapDriver({ dataDir, cgroups: false }),
  gvisor: () => createGvisorDriver({ dataDir, platform: gvisorPlatform }),
  docker: () => createDockerDriver({ dataDir, engine: testEngine, image: HOST_IMAGE }),
};
const driver = makers[name]?.() ?? assert.fail(`there is no driver ${name}`);
const directory = join(dataDir, 'sandboxes', 'sbx_doomed');
await driver.prepare(directory);
const sandbox = await driver.start({
  id: 'sbx_doomed',
  directory,
  command: ['node', '-e', `console.log("up"); setInterval(() => {}, 1000); // setInterval ${word}`],
  env: {},
  readOnly: [],
  sockets: [],
  limits: {
    memoryBytes: 1 << 30,
    processes: 100,
    cpu: 0,
    openFiles: 1024,
    diskBytes: 1 << 30,
    wallTimeMs: 0,
  },
});
sandbox.output.pipe(process.stdout);
