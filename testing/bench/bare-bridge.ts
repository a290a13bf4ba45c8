/** The floor's bridge: the agent's stdio joined to a Unix socket, nothing looked at. Arguments: the socket, the agent. */
import { spawn } from 'node:child_process';
import { createConnection } from 'node:net';

const [, , socketPath = '', agent = ''] = process.argv;
const socket = createConnection(socketPath);
const child = spawn(process.execPath, [agent], { stdio: ['pipe', 'pipe', 'inherit'] });
child.stdout.pipe(socket);
socket.pipe(child.stdin);
socket.on('close', () => {
  child.kill('SIGKILL');
  process.exit(0);
});
