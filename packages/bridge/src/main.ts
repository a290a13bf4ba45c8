/**
 * The process inside a sandbox that drives an executor and talks to the runner over fd 3 (protocols §1). It lives
 * as long as that connection: when it ends, this process and all its children end at once.
 */
import { Socket } from 'node:net';
import { startBridge } from './bridge.ts';
import { createChildren } from './children.ts';
import { readConfig } from './config.ts';
import { realTimers } from './timers.ts';

const RUNNER_FD = 3;

const children = createChildren();
process.on('exit', () => children.killAll());
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => process.exit(0));

startBridge({
  socket: runnerSocket(),
  config: readConfig(process.env),
  children,
  timers: realTimers,
  exit: (code) => process.exit(code),
});

function runnerSocket(): Socket {
  try {
    return new Socket({ fd: RUNNER_FD, readable: true, writable: true });
  } catch (error) {
    process.stderr.write(`atoll-bridge: fd ${RUNNER_FD} must be a socket to the runner: ${String(error)}\n`);
    return process.exit(2);
  }
}
