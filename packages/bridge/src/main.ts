/**
 * The process inside a sandbox that drives an executor and talks to the runner over fd 3, or a Unix socket that it is
 * told of (protocols §1). It lives as long as that connection: when it ends, this process and all its children end at
 * once.
 */
import { createConnection, Socket } from 'node:net';
import { startBridge } from './bridge.ts';
import { createChildren } from './children.ts';
import { readConfig } from './config.ts';
import { realTimers } from './timers.ts';

const RUNNER_FD = 3;

const children = createChildren();
process.on('exit', () => children.killAll());
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => process.exit(0));

const config = readConfig(process.env);
startBridge({
  socket: config.runnerSocket === undefined ? inheritedSocket() : createConnection(config.runnerSocket),
  config,
  children,
  timers: realTimers,
  exit: (code) => process.exit(code),
});

function inheritedSocket(): Socket {
  try {
    return new Socket({ fd: RUNNER_FD, readable: true, writable: true });
  } catch (error) {
    process.stderr.write(`atoll-bridge: fd ${RUNNER_FD} must be a socket to the runner: ${String(error)}\n`);
    return process.exit(2);
  }
}
