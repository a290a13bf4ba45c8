/** Faults of the file system in a real server, chosen by a test at the moment it likes. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

/** Done once, at the n-th call from when it was set; without a `path`, whatever the path. */
export type Fault = {
  /** As it is called in `node:fs` (of threads), `node:fs/promises`, `file.` for one of a handle; or a signal. */
  call: string;
  path?: string;
  nth: number;
  act: 'kill' | 'EIO' | 'ENOSPC' | 'EMFILE';
  /** Of a kill. */
  afterMs?: number;
};

export type Faults = {
  /** For the server's Node. */
  readonly nodeArgs: readonly string[];
  set(fault: Fault): void;
  /** Whether it came to that since it was set. */
  met(): boolean;
  clear(): void;
};

export function createFaults(planFile: string): Faults {
  const preload = new URL('./fs-faults.preload.ts', import.meta.url);
  preload.searchParams.set('plan', pathToFileURL(planFile).href);
  const clear = () => {
    for (const file of [planFile, `${planFile}.met`]) rmSync(file, { force: true });
  };
  return {
    nodeArgs: ['--import', preload.href],
    set(fault) {
      clear();
      writeFileSync(planFile, JSON.stringify(fault));
    },
    met: () => existsSync(`${planFile}.met`),
    clear,
  };
}
