import { createBubblewrapDriver, createProcessDriver, type Driver, type Warn } from '@atoll/runner';
import { driverSettings } from './driver-settings.ts';
import type { Config } from './settings.ts';

/** The one place where a driver is chosen. */
export async function chooseDriver(config: Config, warn: Warn): Promise<Driver> {
  const options = { ...driverSettings(config), warn };
  switch (config.driver) {
    case 'process':
      return createProcessDriver(options);
    case 'bubblewrap':
      return createBubblewrapDriver(options);
    case 'gvisor': {
      const { createGvisorDriver } = await import('@atoll/runner/gvisor');
      return createGvisorDriver(options);
    }
    case 'docker': {
      const { createDockerDriver } = await import('@atoll/runner/docker');
      return createDockerDriver({ ...options, image: config.dockerImage });
    }
  }
}
