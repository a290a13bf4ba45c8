import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import type {
  Driver,
  SandboxEndCause,
  SandboxExit,
  SandboxLimits,
  SandboxProcess,
  SandboxSpec,
} from './driver.ts';

/** What driver tests stand on: a driver on a data directory of its own, and words to start and await things. */

export function nodeCommand(script: string): string[] {
  return ['node', '-e', script];
}

export const roomyLimits: SandboxLimits = {
  memoryBytes: 1 << 30,
  processes: 200,
  cpu: 0,
  openFiles: 1024,
  diskBytes: 1 << 30,
  wallTimeMs: 60_000,
};

export type BenchSpec = Partial<Omit<SandboxSpec, 'limits'>> & { limits?: Partial<SandboxLimits> };

export type Bench = ReturnType<typeof createBench>;

/** A driver on a data directory of its own, and one sandbox directory to start things in. */
export function createBench(make: (dataDir: string) => Driver) {
  const dataDir = join(realpathSync(mkdtempSync(join(tmpdir(), 'atoll-driver-'))), 'data');
  const driver = make(dataDir);
  let count = 0;
  const bench = {
    dataDir,
    driver,
    directory: join(dataDir, 'sandboxes', 'sbx_0'),
    async open() {
      await driver.sweep();
      await driver.prepare(bench.directory);
    },
    async close() {
      await driver.stop();
      rmSync(join(dataDir, '..'), { recursive: true, force: true });
    },
    /** Empties the sandbox directory. */
    async fresh() {
      await driver.remove(bench.directory);
      await driver.prepare(bench.directory);
    },
    start(command: readonly string[], { limits, ...spec }: BenchSpec = {}): Promise<SandboxProcess> {
      return driver.start({
        id: `sbx_${count++}`,
        directory: bench.directory,
        command,
        env: {},
        readOnly: [],
        sockets: [],
        limits: { ...roomyLimits, ...limits },
        ...spec,
      });
    },
    async run(script: string, spec?: BenchSpec): Promise<{ exit: SandboxExit; output: string }> {
      return bench.runCommand(nodeCommand(script), spec);
    },
    async runCommand(
      command: readonly string[],
      spec?: BenchSpec,
    ): Promise<{ exit: SandboxExit; output: string }> {
      const sandbox = await bench.start(command, spec);
      const output = await text(sandbox.output);
      return { exit: await sandbox.exited, output };
    },
    async endsWith(cause: SandboxEndCause, script: string, limits: Partial<SandboxLimits>): Promise<void> {
      const { exit, output } = await bench.run(script, { limits });
      assert.equal(exit.cause, cause, `${exit.detail} ${output}`);
      assert.match(exit.detail, /^The .*\.$/);
    },
  };
  return bench;
}

/** Waits for `word` in a sandbox's output, and stops reading there. */
export async function said(sandbox: SandboxProcess, word: string): Promise<void> {
  let heard = '';
  for await (const chunk of sandbox.output.iterator({ destroyOnReturn: false })) {
    heard += String(chunk);
    if (heard.includes(word)) return;
  }
  assert.fail(`The sandbox ended without saying ${word}; it said: ${heard}`);
}

/** Host processes with `word` in their command line; give each test a word of its own. */
export function hostProcessesOf(word: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && readCommand(name).includes(word))
    .map(Number);
}

function readCommand(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
  } catch {
    return ''; // Ended meanwhile.
  }
}

/** Waits for a condition nothing announces. The test runner's timeout ends it when it never comes. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(5);
}
