import { join } from 'node:path';
import { createBubblewrapDriver, createProcessDriver, type Driver } from '@atoll/runner';
import { RUNNER_DIRECTORY } from './data-directory.ts';
import type { Config } from './settings.ts';

/** The one place where a driver is chosen. */
export function chooseDriver({ driver, dataDir }: Config): Driver {
  const options = { dataDir: join(dataDir, RUNNER_DIRECTORY) };
  return driver === 'process' ? createProcessDriver(options) : createBubblewrapDriver(options);
}
