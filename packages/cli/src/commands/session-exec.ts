import { runExec } from '../exec.ts';
import type { Invocation } from '../invocation.ts';

export function run(invocation: Invocation): Promise<void> {
  const { arg, signal } = invocation;
  return runExec(invocation, (client, command) => client.exec(arg('SESSION'), command, { signal }));
}
