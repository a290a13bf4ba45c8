import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync } from 'node:fs';
import { AtollError } from '@atoll/protocol/errors';

/**
 * Removes a tree made by somebody untrusted. `rm` walks by descriptors, so it follows no link and is not stopped
 * by paths longer than PATH_MAX, and it is off the event loop; where modes keep us out of our own uid's
 * directories, they are opened first. Only for a tree in which nothing runs any more: `chmod` follows a link that
 * takes the place of what it has just looked at.
 */
export async function removeTree(path: string): Promise<void> {
  if (!lstatSync(path, { throwIfNoEntry: false })) return;
  if (await removeLiveTree(path)) return;
  await run('chmod', ['-R', 'u+rwx', '--', path]);
  await runTool('rm', ['-rf', '--', path]);
}

/** The same while its maker may still change it. False when it, or its modes, stood in the way. */
export async function removeLiveTree(path: string): Promise<boolean> {
  return (await run('rm', ['-rf', '--', path])).code === 0;
}

/** Runs a program of the system; AtollError `sandbox_failed` with what it said when it fails. */
export async function runTool(program: string, args: readonly string[]): Promise<void> {
  const { code, errors } = await run(program, args);
  if (code !== 0)
    throw new AtollError('sandbox_failed', `${program} failed: ${errors.trim() || `exit ${code}`}`);
}

async function run(program: string, args: readonly string[]): Promise<{ code: unknown; errors: string }> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (errors.length < 4000) errors += text;
  });
  const [code] = await once(child, 'close');
  return { code, errors };
}
