import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { newId } from '@atoll/protocol/ids';
import { codeOf, SetupError } from './failure.ts';

export const RUNNER_DIRECTORY = 'runner';

export type DataDirectory = {
  dataDir: string;
  runnerDir: string;
  /** The same at every start, so that sessions find their workspaces again. */
  runnerId: string;
  release(): void;
};

/** Takes the data directory for this process: two servers on one log would each believe that it is theirs. */
export function dataDirectory(dataDir: string): DataDirectory {
  try {
    makeDirectory(dataDir);
    const release = lock(join(dataDir, 'server.pid'));
    const runnerDir = join(dataDir, RUNNER_DIRECTORY);
    return { dataDir, runnerDir, runnerId: keptId(join(dataDir, 'runner.id')), release };
  } catch (error) {
    if (error instanceof Error && typeof codeOf(error) === 'string')
      throw new SetupError(`cannot use the data directory ${dataDir}: ${error.message}`);
    throw error;
  }
}

/**
 * With its parents. Node's own way to do that tries without end below a folder that is there but in which the kernel
 * says that nothing is, such as /proc.
 */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST') return;
    const parent = dirname(path);
    if (code !== 'ENOENT' || existsSync(parent)) throw error;
    makeDirectory(parent);
    mkdirSync(path, { mode: 0o700 });
  }
}

/** A pid file: what a killed server left behind names a process that is gone, or another program. */
function lock(file: string): () => void {
  for (;;) {
    try {
      writeFileSync(file, `${process.pid}\n`, { flag: 'wx', mode: 0o600 });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
    const holder = Number(readFileSync(file, 'utf8'));
    if (holder !== process.pid && isServer(holder))
      throw new SetupError(
        `Another Atoll (pid ${holder}) already uses this data directory; choose another with --data-dir, or --name for a runner.`,
      );
    rmSync(file, { force: true });
  }
}

function isServer(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: somebody else's, but alive.
    if (codeOf(error) !== 'EPERM') return false;
  }
  const commandLine = `/proc/${pid}/cmdline`;
  return (
    !existsSync(commandLine) ||
    /\0(start|worker|runner|acp|mcp)(\0|$)/.test(readFileSync(commandLine, 'utf8'))
  );
}

/** An empty file is what a crash or a full disk left of the first start. */
function keptId(file: string): string {
  const kept = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
  if (kept !== '') return kept;
  const id = newId('runner');
  writeFileSync(file, `${id}\n`, { mode: 0o600 });
  return id;
}
