import { join } from 'node:path';
import { createBubblewrapDriver } from './bubblewrap.ts';
import { createProcessDriver } from './process.ts';

/** A runner to be killed by a test: `<driver> <dataDir> <word>`; says `up` once a sandbox runs. */
const [, , name, dataDir = '', word = ''] = process.argv;
const cgroups = name === 'bubblewrap';
const driver =
  name === 'process' ? createProcessDriver({ dataDir }) : createBubblewrapDriver({ dataDir, cgroups });
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
