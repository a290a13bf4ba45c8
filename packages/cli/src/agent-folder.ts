import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { SetupError } from './failure.ts';

/** Never part of an agent: what tools keep beside it, and what would be huge. */
const IGNORED = new Set(['.git', 'node_modules', '.DS_Store']);
const MAX_BYTES = 45 * 1024 * 1024;

export type AgentFile = { path: string; content: string; executable: boolean };

/** The files of an agent folder, in a stable order, as `agent.deploy` takes them. */
export async function readAgentFolder(directory: string): Promise<AgentFile[]> {
  const paths = await walk(directory).catch((error: unknown) => {
    const reason = error instanceof Error && 'code' in error ? error.code : error;
    throw new SetupError(
      `cannot read ${directory}: ${reason === 'ENOENT' ? 'there is no such folder' : reason}`,
    );
  });
  if (paths.length === 0) throw new SetupError(`${directory} is empty`);
  const files: AgentFile[] = [];
  let bytes = 0;
  for (const path of paths.sort()) {
    const content = await readFile(path);
    bytes += content.length;
    // The body travels as base64 and may have 64 MiB.
    if (bytes > MAX_BYTES)
      throw new SetupError(`${directory} holds more than ${MAX_BYTES / 1024 / 1024} MiB`);
    const { mode } = await stat(path);
    files.push({
      path: relative(directory, path).split(sep).join('/'),
      content: content.toString('base64'),
      executable: (mode & 0o100) !== 0,
    });
  }
  return files;
}

/** Regular files only; a link might lead anywhere on this machine. */
async function walk(directory: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (IGNORED.has(entry.name)) continue;
    const path = join(directory, entry.name);
    if (entry.isDirectory()) found.push(...(await walk(path)));
    else if (entry.isFile()) found.push(path);
    else throw new SetupError(`${path} is neither a file nor a folder; an agent folder may hold no links`);
  }
  return found;
}
