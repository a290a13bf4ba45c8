/**
 * For the host: the bridge as one file with a compile cache beside it, which a sandbox sees read-only in /opt/atoll.
 * Type stripping, linking and compiling are then done once per runner rather than once per sandbox, and nothing in a
 * sandbox can write to the cache (a writable one would be a way into other sandboxes).
 *
 * The cache is keyed by paths relative to its own folder, so what is filled here is found there. That needs Node
 * 22.21 or 24.12; an older one starts the same bridge without the gain.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, readdir, rm, symlink } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join, relative } from 'node:path';
import { text } from 'node:stream/consumers';
import { type BridgeInstall, describeBridge, SANDBOX_ROOT } from './install.ts';

const MAIN = 'bridge.cjs';
const CACHE = 'cache';
/** The uid inside a sandbox, on every driver. */
const SANDBOX_UID = 1000;
const SDK_TARGET = `${SANDBOX_ROOT}/node_modules/@anthropic-ai/claude-agent-sdk`;
/** What the SDK's import needs, copied to be compiled under the path it has in a sandbox. */
const SDK_FILES = ['package.json', 'sdk.mjs'];

export type StageOptions = {
  /** Emptied and filled; belongs to one runner alone. Must be readable by the sandboxes' users. */
  directory: string;
  /** The Node that the sandboxes run; a cache is good for one version only. */
  node?: string;
};

/** Fills the folder and describes it as `describeBridge` does. Rejects when it cannot be written. */
export async function stageBridge({
  directory,
  node = process.execPath,
}: StageOptions): Promise<BridgeInstall> {
  const install = describeBridge();
  const sdk = install.mounts.filter(({ target }) => target.includes('/node_modules/'));
  await rm(directory, { recursive: true, force: true });
  await mkdir(join(directory, CACHE), { recursive: true });
  for (const { source, target } of sdk) await stageSdk(source, staged(directory, target), target);
  await fill(directory, node);
  await share(directory);
  return {
    ...install,
    command: [...install.command.slice(0, -1), `${SANDBOX_ROOT}/${MAIN}`],
    // The root first: the SDK's folders are mounted into it.
    mounts: [{ source: directory, target: SANDBOX_ROOT }, ...sdk],
    env: cacheEnv(SANDBOX_ROOT),
  };
}

async function stageSdk(source: string, to: string, target: string): Promise<void> {
  // A mount point in a read-only folder must be there before.
  await mkdir(to, { recursive: true });
  if (target !== SDK_TARGET) return;
  for (const file of SDK_FILES) await cp(join(source, file), join(to, file));
}

/** Two runs: one writes the bridge and compiles the SDK, off this process's event loop; one starts what was written. */
async function fill(directory: string, node: string): Promise<void> {
  const env = { PATH: process.env.PATH, ...cacheEnv(directory) };
  const main = join(directory, MAIN);
  const writer = new URL('write-bridge.ts', import.meta.url);
  const script = `
    const { writeBridge } = await import(${JSON.stringify(writer.href)});
    writeBridge(${JSON.stringify(main)});
    await import(${JSON.stringify(staged(directory, `${SDK_TARGET}/sdk.mjs`))}).catch(() => undefined);`;
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module'];
  await ended(spawn(node, [...flags, '--eval', script], { env, stdio: ['ignore', 'ignore', 'pipe'] }));
  const entry = spawn(node, [main], { env, stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  // It ends with its connection.
  (entry.stdio[3] as Socket).end();
  await ended(entry);
}

async function ended(child: ChildProcess): Promise<void> {
  const [said, [code]] = await Promise.all([child.stderr && text(child.stderr), once(child, 'exit')]);
  if (code !== 0) throw new Error(`the bridge cannot be made one file: ${said}`);
}

/**
 * Makes the folder readable for the sandboxes' users, whatever umask and sources say. Node keeps a compile cache for
 * each user, 0600 and with the uid at the end of its name, so that one is given a second name.
 */
async function share(directory: string): Promise<void> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  await chmod(directory, 0o755);
  for (const entry of entries)
    await chmod(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
  for (const name of await readdir(join(directory, CACHE))) {
    const shared = name.replace(/-\d+$/, `-${SANDBOX_UID}`);
    if (shared !== name) await symlink(name, join(directory, CACHE, shared));
  }
}

function cacheEnv(root: string): Record<string, string> {
  return { NODE_COMPILE_CACHE: `${root}/${CACHE}`, NODE_COMPILE_CACHE_PORTABLE: '1' };
}

function staged(directory: string, target: string): string {
  return join(directory, relative(SANDBOX_ROOT, target));
}
