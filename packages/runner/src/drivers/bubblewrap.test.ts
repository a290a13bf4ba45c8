import { driverContract } from '../driver.contract.ts';
import { createBubblewrapDriver } from './bubblewrap.ts';

driverContract('bubblewrap', (dataDir) => createBubblewrapDriver({ dataDir }));
driverContract('bubblewrap without cgroups', (dataDir) =>
  createBubblewrapDriver({ dataDir, cgroups: false }),
);
