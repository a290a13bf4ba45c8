import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Cgroups, sweepCgroups } from './cgroup.ts';
import { isErrno } from './processes.ts';

/**
 * Ends and removes what an earlier incarnation on this data directory left in control groups, wherever it stood itself
 * then, and writes down where this one's are.
 */
export async function sweepRecordedCgroups(dataDir: string, cgroups: Cgroups | undefined): Promise<void> {
  const record = join(dataDir, 'system', 'cgroups');
  await mkdir(dirname(record), { recursive: true });
  for (const place of await readLines(record)) await sweepCgroups(place);
  await cgroups?.sweep();
  await writeFile(record, (cgroups?.places ?? []).join('\n'));
}

async function readLines(path: string): Promise<string[]> {
  try {
    return (await readFile(path, 'utf8')).split('\n').filter(Boolean);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
