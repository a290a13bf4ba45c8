/** A runner that stops a group and then waits to be killed. */
import { guardStandstill } from './standstill-guard.ts';

const group = Number(process.argv[2]);
await guardStandstill(-group, 'CONT');
process.kill(-group, 'SIGSTOP');
process.stdout.write('stopped\n');
setInterval(() => undefined, 1000);
