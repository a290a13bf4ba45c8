/** `program` agents that tests deploy: small, real, each showing one behaviour. */
import { evaluateInBridge, runnerSocket } from './taken-bridge.ts';

/** Understands: `emit N [BYTES]`, `tick N MS` (an item each, and as a file `ticks`), `fail`, `wait`, `crash`, `remember X`, `recall`, `stderr TEXT`; else echoes. */
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
  async tick([count, ms]) {
    for (let i = 0; i < Number(count) && !interrupted; i++) {
      send({ type: 'item', n: i });
      writeFileSync('ticks', String(i));
      await new Promise((resolve) => setTimeout(resolve, Number(ms)));
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

/** `COUNT EVERY_MS SIZE`: says so many numbers in order, up to SIZE of them at a time. SIGINT stops it. */
export const counting = `
import { createInterface } from 'node:readline';
let stopped = false;
process.on('SIGINT', () => { stopped = true; });
setInterval(() => {}, 60000);
for await (const line of createInterface({ input: process.stdin })) {
  const [count, everyMs, size] = String(JSON.parse(line).content).split(' ').map(Number);
  stopped = false;
  for (let n = 0; n < count && !stopped; ) {
    let block = '';
    for (const end = Math.min(count, n + Math.ceil(size * Math.random())); n < end; n++) block += JSON.stringify({ type: 'count', n }) + '\\n';
    process.stdout.write(block);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  process.stdout.write(JSON.stringify({ type: 'result' }) + '\\n');
}
process.exit(0);
`;

/** What stands in the bridge: `ask` gives the runner's decision. */
const askingBridge = `
const socket = ${runnerSocket};
const waiting = new Map();
let rest = '';
socket.on('data', (chunk) => {
  const lines = (rest + chunk).split('\\n');
  rest = lines.pop();
  for (const { id, result } of lines.map((line) => JSON.parse(line))) waiting.get(id)?.(result);
});
// Deeper than JSON.stringify can.
const nested = (depth) => '{"a":' + '['.repeat(depth) + ']'.repeat(depth) + '}';
globalThis.ask = ({ deep, ...params }) => new Promise((resolve) => {
  const id = 'asked-' + waiting.size;
  waiting.set(id, resolve);
  const request = { jsonrpc: '2.0', id, method: 'approval.request', params };
  const text = JSON.stringify(deep ? { ...request, params: { ...params, input: '@' } } : request);
  socket.write(text.replace('"@"', () => nested(deep)) + '\\n');
});
undefined`;

const askingAgent = `
import { createInterface } from 'node:readline';
${evaluateInBridge}
await evaluate(${JSON.stringify(askingBridge)});
const say = (message) => process.stdout.write(JSON.stringify(message) + '\\n');
let end;
process.on('SIGINT', () => setTimeout(end, 100));
for await (const line of createInterface({ input: process.stdin })) {
  const { turnId, content } = JSON.parse(line);
  const { ask: calls = [], finally: last } = JSON.parse(content);
  const requests = calls.map((call) => ({ turnId, kind: 'tool', options: ['allow', 'deny'], ...call }));
  const decided = evaluate('Promise.all(' + JSON.stringify(requests) + '.map(ask))');
  if (last === 'exit') void evaluate('setTimeout(() => process.exit(3), 200), undefined');
  const ended = new Promise((resolve) => { end = resolve; });
  if (last === 'end') end();
  const decisions = await Promise.race([decided, ended]);
  if (decisions) say({ type: 'decided', decisions });
  say({ type: 'result' });
}
process.exit(0);
`;

/**
 * Asks for approvals as its bridge, in which it runs code (they share a user). A message is JSON: `ask`, a list of
 * calls to ask for at once, each `{tool, input}` (or `{tool, deep}`), and maybe `finally: "exit"` or `"end"`; it says what was decided. `{}` asks nothing.
 */
export const asking = {
  'atoll.json': JSON.stringify({
    executor: { kind: 'program', command: ['node', 'agent.mjs'] },
  }),
  'agent.mjs': askingAgent,
};
