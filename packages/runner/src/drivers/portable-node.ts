import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { chmod, copyFile, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { AtollError } from '@atoll/protocol/errors';
import { withLoader } from './elf.ts';

/**
 * This machine's Node for file systems that are not this machine's: a folder to be shown at /opt/node, with the
 * libraries that Node needs and their loader beside it. The copy of Node is told in its own file where they are, so it
 * runs in any image (an older glibc, musl, none at all) and no variable of the environment betrays it to the programs
 * of the image.
 */
export const NODE_ROOT = '/opt/node';
export const NODE_PATH = `${NODE_ROOT}/bin/node`;

const LOADER = `${NODE_ROOT}/ld`;

/** Makes it below `directory` unless it is there. Returns where it is. */
export async function portableNode(directory: string, node = process.execPath): Promise<string> {
  const name = `node-${identityOf(node)}`;
  const place = join(directory, name);
  if (existsSync(place)) return place;
  await mkdir(directory, { recursive: true });
  for (const old of readdirSync(directory).filter((entry) => entry.startsWith('node-')))
    await rm(join(directory, old), { recursive: true, force: true });
  const building = join(directory, `node-building-${process.pid}`);
  await build(node, building);
  await rename(building, place);
  await synced(directory);
  return place;
}

function identityOf(node: string): string {
  const { size, mtimeMs, ino } = statSync(node);
  return createHash('sha256').update(`${node} ${size} ${mtimeMs} ${ino}`).digest('hex').slice(0, 12);
}

async function build(node: string, to: string): Promise<void> {
  const patched = withLoader(await readFile(node), { loader: LOADER, libraries: NODE_ROOT });
  await mkdir(join(to, 'bin'), { recursive: true });
  await writeFile(join(to, 'bin', 'node'), patched.program);
  await chmod(join(to, 'bin', 'node'), 0o755);
  if (patched.loader !== undefined) {
    await copyFile(patched.loader, join(to, basename(LOADER)));
    for (const library of await librariesOf(node, patched.loader))
      await copyFile(library, join(to, basename(library)));
  }
  // Whatever the umask and the libraries' own modes, sandboxes read this as somebody else.
  for (const name of readdirSync(to)) await chmod(join(to, name), 0o755);
  await chmod(to, 0o755);
  // Once it has its name it is taken for whole, also after a power cut.
  for (const name of ['bin/node', ...readdirSync(to), '.']) await synced(join(to, name));
}

async function synced(path: string): Promise<void> {
  const file = await open(path);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** As the loader itself finds them, from `name => path (address)`. */
async function librariesOf(program: string, loader: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)(loader, ['--list', program]).catch((cause: unknown) => {
    throw new AtollError('sandbox_failed', `The libraries of ${program} cannot be found.`, { cause });
  });
  return [...stdout.matchAll(/=> (\/.*) \(0x/g)].flatMap(([, path]) => (path === undefined ? [] : [path]));
}
