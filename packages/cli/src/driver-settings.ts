import { join } from 'node:path';
import type { DriverSettings } from '@atoll/runner/preflight';
import { RUNNER_DIRECTORY } from './data-directory.ts';
import type { Config } from './settings.ts';

/** What a driver needs to know to say whether it can run. */
export function driverSettings({ dataDir, dockerHost, gvisorPlatform }: Config): DriverSettings {
  return { dataDir: join(dataDir, RUNNER_DIRECTORY), engine: dockerHost, platform: gvisorPlatform };
}
