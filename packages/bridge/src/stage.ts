/**
 * For the host: the bridge as one folder with a compile cache in it, which a sandbox sees read-only as /opt/atoll.
 * Type stripping and compiling are then done once per runner rather than once per sandbox, and nothing in a
 * sandbox can write to the cache (a writable one would be a way into other sandboxes).
 *
 * The cache is keyed by paths relative to its own folder, so what is filled here is found there. That needs Node
 * 22.21 or 24.12; an older one starts the same bridge without the gain.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, readdir, rm, symlink } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join, relative } from 'node:path';
import { type BridgeInstall, type BridgeMount, describeBridge, SANDBOX_ROOT } from './install.ts';

const CACHE = 'cache';
/** The uid inside a sandbox, on every driver. */
const SANDBOX_UID = 1000;
const SDK_TARGET = `${SANDBOX_ROOT}/node_modules/@anthropic-ai/claude-agent-sdk`;
/** What the SDK's import needs, copied to be compiled under the path it has in a sandbox. */
const SDK_FILES = ['package.json', 'sdk.mjs'];
const HOST_ONLY = /\.(test|contract|fixture)\.[jt]s$/;

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
  const [own, sdk] = partition(install.mounts, ({ target }) => !target.includes('/node_modules/'));
  await rm(directory, { recursive: true, force: true });
  await mkdir(join(directory, CACHE), { recursive: true });
  for (const { source, target } of own) await cp(source, staged(directory, target), copyOptions(source));
  for (const { source, target } of sdk) await stageSdk(source, staged(directory, target), target);
  await warm(directory, node, install);
  await share(directory);
  return {
    ...install,
    // The root first: the SDK's folders are mounted into it.
    mounts: [{ source: directory, target: SANDBOX_ROOT }, ...sdk],
    env: cacheEnv(SANDBOX_ROOT),
  };
}

function copyOptions(source: string) {
  return { recursive: true, filter: (path: string) => !HOST_ONLY.test(relative(source, path)) };
}

async function stageSdk(source: string, to: string, target: string): Promise<void> {
  // A mount point in a read-only folder must be there before.
  await mkdir(to, { recursive: true });
  if (target !== SDK_TARGET) return;
  for (const file of SDK_FILES) await cp(join(source, file), join(to, file));
}

/** Two runs, since the entry ends with its connection and the rest is loaded only when it is asked for. */
async function warm(directory: string, node: string, { command }: BridgeInstall): Promise<void> {
  const main = staged(directory, command.at(-1) ?? '');
  const env = { PATH: process.env.PATH, ...cacheEnv(directory) };
  const entry = spawn(node, [main], { env, stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  (entry.stdio[3] as Socket).end();
  await once(entry, 'exit');
  const files = (await readdir(join(directory, 'bridge'), { recursive: true }))
    .filter((file) => /\.[jt]s$/.test(file) && !/^(main|install|stage)\./.test(file))
    .map((file) => join(directory, 'bridge', file));
  const script = `await Promise.allSettled(${JSON.stringify([...files, staged(directory, `${SDK_TARGET}/sdk.mjs`)])}.map((file) => import(file)))`;
  const rest = spawn(node, ['--input-type=module', '--eval', script], { env, stdio: 'ignore' });
  await once(rest, 'exit');
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

function partition(
  mounts: readonly BridgeMount[],
  test: (mount: BridgeMount) => boolean,
): [BridgeMount[], BridgeMount[]] {
  return [mounts.filter(test), mounts.filter((mount) => !test(mount))];
}
