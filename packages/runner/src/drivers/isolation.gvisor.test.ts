import { test } from 'node:test';
import { missingGvisor, gvisorPlatform as platform } from '../../../../testing/gvisor.ts';
import { isolationContract } from '../driver.isolation.ts';
import { createGvisorDriver } from './gvisor.ts';

const skip = missingGvisor();
if (skip) test('isolation: gvisor', { skip });
else isolationContract('gvisor', (dataDir) => createGvisorDriver({ dataDir, platform }), { ownKernel: true });
