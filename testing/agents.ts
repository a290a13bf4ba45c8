/** `program` agents that tests deploy: small, real, each showing one behaviour. */

/** Understands: `emit N [BYTES]`, `fail`, `wait`, `crash`, `remember X`, `recall`, `stderr TEXT`; else echoes. */
export const versatile = `
import { createInterface } from 'node:readline';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
const memory = process.env.HOME + '/memory.txt';
const send = (message) => process.stdout.write(JSON.stringify(message) + '\\n');
const write = (text) => new Promise((resolve) => process.stdout.write(text, resolve));
let interrupted = false;
process.on('SIGINT', () => { interrupted = true; finish?.(); });
let finish;
const commands = {
  async emit([count, bytes = '100']) {
    const pad = 'x'.repeat(Math.max(0, Number(bytes) - 40));
    for (let i = 0; i < Number(count); ) {
      let block = '';
      for (const end = Math.min(Number(count), i + 200); i < end; i++) block += JSON.stringify({ type: 'item', n: i, pad }) + '\\n';
      await write(block);
    }
  },
  async wait() {
    send({ type: 'waiting' });
    await new Promise((resolve) => { finish = resolve; if (interrupted) resolve(); });
    const hold = setInterval(() => {}, 1000); clearInterval(hold);
  },
  async crash() { send({ type: 'about-to-crash' }); await write(''); process.exit(7); },
  async stderr(words) { process.stderr.write(words.join(' ') + '\\n'); },
  async remember(words) { writeFileSync(memory, words.join(' ')); },
  async recall() { send({ type: 'recalled', text: existsSync(memory) ? readFileSync(memory, 'utf8') : null }); },
  async echo(words) { send({ type: 'echo', text: words.join(' ') }); },
};
setInterval(() => {}, 60000);
for await (const line of createInterface({ input: process.stdin })) {
  const { turnId, content } = JSON.parse(line);
  interrupted = false;
  const words = String(content).split(' ');
  const known = commands[words[0]];
  if (words[0] === 'fail') { send({ type: 'result', is_error: true, result: 'asked to fail' }); continue; }
  await (known ? known(words.slice(1)) : commands.echo(words));
  send({ type: 'result', turnId, interrupted });
}
process.exit(0);
`;

const askingBridge = `
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
const socket = new Socket({ fd: 3, readable: true, writable: true });
const say = (message) => new Promise((resolve) => socket.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\\n', resolve));
const waiting = new Map();
let asked = 0;
let query;
const end = (status, cause, id = query) => say({ id, result: { status, cause } });
// Deeper than JSON.stringify can.
const nested = (depth) => '{"a":' + '['.repeat(depth) + ']'.repeat(depth) + '}';
const ask = ({ deep, ...params }) => new Promise((resolve) => {
  waiting.set(++asked, resolve);
  const request = { jsonrpc: '2.0', id: asked, method: 'approval.request', params };
  const text = JSON.stringify(deep ? { ...request, params: { ...params, input: '@' } } : request);
  socket.write(text.replace('"@"', () => nested(deep)) + '\\n');
});
async function turn({ turnId, content }) {
  const { ask: calls = [], finally: last } = JSON.parse(content);
  const request = { turnId, kind: 'tool', options: ['allow', 'deny'] };
  const decided = Promise.all(calls.map((call) => ask({ ...request, ...call })));
  if (last === 'exit') setTimeout(() => process.exit(3), 200);
  if (last === 'end') return end('completed');
  await say({ method: 'message', params: { type: 'decided', decisions: await decided } });
  await end('completed');
}
for await (const line of createInterface({ input: socket })) {
  const { id, method, params, result } = JSON.parse(line);
  if (method === undefined) waiting.get(id)?.(result);
  else if (method === 'query') { query = id; void turn(params); }
  else {
    await say({ id, result: { protocolVersion: 1 } });
    if (method === 'interrupt') setTimeout(end, 100, 'interrupted', 'interrupted', query);
  }
}
process.exit(0);
`;

/**
 * Asks for approvals: an agent that has taken its bridge's place (they share a user). A message is JSON: `ask`, a list of
 * calls to ask for at once, each `{tool, input}` (or `{tool, deep}`), and maybe `finally: "exit"` or `"end"`; it says what was decided. `{}` asks nothing.
 */
export const asking = {
  'atoll.json': JSON.stringify({
    executor: { kind: 'program', command: ['cat'] },
    // Not from a file: the workspace is filled while the bridge starts.
    env: { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(askingBridge)}` },
    allowSecretEnv: true,
  }),
};
