/** Whole sessions through the gvisor driver. */
import { test } from 'node:test';
import { driverSessions } from '../driver-sessions.ts';
import { gvisorPlatform, missingGvisor } from '../gvisor.ts';

const skip = missingGvisor();
if (skip) test('sessions: gvisor', { skip });
else driverSessions('gvisor', { args: ['--driver', 'gvisor', '--gvisor-platform', gvisorPlatform] });
