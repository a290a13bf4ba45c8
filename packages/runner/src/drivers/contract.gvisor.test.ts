import { test } from 'node:test';
import { missingGvisor, gvisorPlatform as platform } from '../../../../testing/gvisor.ts';
import { driverContract } from '../driver.contract.ts';
import { createGvisorDriver } from './gvisor.ts';

const skip = missingGvisor();
if (skip) test('driver contract: gvisor', { skip });
else driverContract('gvisor', (dataDir) => createGvisorDriver({ dataDir, platform }), { ownKernel: true });
