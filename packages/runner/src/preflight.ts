/**
 * Whether a driver can run here, without loading the runner: a server that cannot make sandboxes should say so before
 * anything else, and say it fast.
 */
import { resolve } from 'node:path';
import type { DriverProblem } from './driver.ts';
import { checkBubblewrap } from './drivers/bubblewrap-check.ts';
import { uidRange } from './drivers/host-uids.ts';

export const driverNames = ['bubblewrap', 'gvisor', 'docker', 'process'] as const;
export type DriverName = (typeof driverNames)[number];

export type DriverSettings = {
  /** The runner's. */
  dataDir: string;
  /** Of the driver `docker`. */
  engine: string;
  /** Of the driver `gvisor`. */
  platform: string | undefined;
};

/** As the driver's own `check`. */
export async function checkDriver(driver: DriverName, settings: DriverSettings): Promise<DriverProblem[]> {
  if (driver === 'process') return [];
  if (driver === 'docker') return (await import('./drivers/docker-check.ts')).checkDocker(settings.engine);
  if (driver === 'gvisor') return (await import('./drivers/gvisor-check.ts')).checkGvisor(settings.platform);
  const isRoot = process.geteuid?.() === 0;
  return checkBubblewrap(isRoot ? uidRange(resolve(settings.dataDir)).first : undefined);
}
