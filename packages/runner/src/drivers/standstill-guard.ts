import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Waits beside a group of processes that stands still, and lets it go on should this process die: a stopped process
 * never hears that nobody needs it any more. Resolves when it watches.
 */
export async function guardStandstill(group: number): Promise<Disposable> {
  const guard = spawn('/bin/sh', ['-c', `echo; read nothing; kill -CONT -${group}`], {
    stdio: ['pipe', 'pipe', 'ignore'],
    // A signal from the terminal is for this process, and not for it.
    detached: true,
  });
  guard.stdin.on('error', () => undefined); // it was killed, and nothing is ever written to it
  await once(guard.stdout, 'data');
  return { [Symbol.dispose]: () => void guard.kill('SIGKILL') };
}
