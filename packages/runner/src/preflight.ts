/**
 * Whether a driver can run here, without loading the runner: a server that cannot make sandboxes should say so before
 * anything else, and say it fast.
 */
import { resolve } from 'node:path';
import type { DriverProblem } from './driver.ts';
import { checkBubblewrap } from './drivers/bubblewrap-check.ts';
import { uidRange } from './drivers/host-uids.ts';

export type DriverName = 'bubblewrap' | 'process';

/** As the driver's own `check`; `dataDir` is the runner's. */
export async function checkDriver(driver: DriverName, dataDir: string): Promise<DriverProblem[]> {
  if (driver === 'process') return [];
  const isRoot = process.geteuid?.() === 0;
  return checkBubblewrap(isRoot ? uidRange(resolve(dataDir)).first : undefined);
}
