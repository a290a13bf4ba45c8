import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Waits beside processes that stand still, and sends a signal should this process die: a stopped process never hears
 * that nobody needs it any more. `target` is as kill(2) takes it. Resolves when it watches.
 */
export async function guardStandstill(target: number, signal: 'CONT' | 'KILL'): Promise<Disposable> {
  const guard = spawn('/bin/sh', ['-c', `echo; read nothing; kill -${signal} ${target}`], {
    stdio: ['pipe', 'pipe', 'ignore'],
    // A signal from the terminal is for this process, and not for it.
    detached: true,
  });
  guard.stdin.on('error', () => undefined); // it was killed, and nothing is ever written to it
  await once(guard.stdout, 'data');
  return { [Symbol.dispose]: () => void guard.kill('SIGKILL') };
}
