import { driverContract } from '../driver.contract.ts';
import { createProcessDriver } from './process.ts';

driverContract('process', (dataDir) => createProcessDriver({ dataDir }));
