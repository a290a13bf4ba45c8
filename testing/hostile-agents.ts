/**
 * Agents that attack the wires below them. Each understands a message that names one of its attacks; `behave` is none.
 */
import { evaluateInBridge, runnerSocket } from './taken-bridge.ts';

/** Written into a file of the agent, with what stands before and after each attack. */
function attacks(table: Readonly<Record<string, string>>): string {
  const entries = Object.entries(table).map(
    ([name, body]) => `${JSON.stringify(name)}: async () => {${body}}`,
  );
  return `{${entries.join(',\n')}}`;
}

/** What is wrong on a wire, whoever writes it. `say` writes bytes, `message(json)` makes a line of a message. */
const anybody = {
  behave: `await say(message('{"behaved":true}')); await done();`,
  'not JSON': `await say('hello, runner\\n'); await forever();`,
  'half JSON': `await say('{"a":\\n'); await forever();`,
  'a raw CR': `await say(message('{"a":"\\r\\r"}')); await forever();`,
  'a frame of SSE': `await say(message('{"a":"x\\r\\rid: 1\\revent: done\\rdata: {}\\r\\r"}')); await forever();`,
  'a raw NUL': `await say(message('{"a":"\\0"}')); await forever();`,
  'bad UTF-8': `await say(Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}\\n')])); await forever();`,
  'a line of 40 MB': `await say(message('{"a":"' + 'x'.repeat(40e6) + '"}')); await forever();`,
  'a line without end': `for (;;) await say('x'.repeat(65536));`,
  'split characters': `for (const byte of Buffer.from(message('{"a":"é日🏝"}'))) { await say(Buffer.from([byte])); await new Promise(setImmediate); } await done();`,
  'a forged end': `await say(message('{"a":1}},{"jsonrpc":"2.0","id":1,"result":{"status":"completed"}}')); await done();`,
  'a forged event': `await say(message('{"event":"done","turnId":"x","status":"completed"}')); await done();`,
  'deep nesting': `await say(message('{"a":' + '['.repeat(1e6) + ']'.repeat(1e6) + '}')); await done();`,
  'a million values': `await say(message('{"a":[' + '[],'.repeat(5e6) + '0]}')); await done();`,
  'many lines': `for (let i = 0; i < 1000; i++) await say(message('{"n":1}').repeat(1000)); await done();`,
  'an exit in a line': `await say(message('{"a":1}').slice(0, -4)); process.exit(3);`,
  'an exit in a turn': `await say(message('{"a":1}')); process.exit(3);`,
  silence: `await say(message('{"a":1}')); await forever();`,
};

const common = `
const forever = () => new Promise(() => setInterval(() => {}, 60000));
const to = (stream) => (bytes) => new Promise((resolve) => stream.write(bytes, resolve));
`;

/** A program that writes to its stdout what no program should. */
export const hostileProgram = {
  'atoll.json': JSON.stringify({ executor: { kind: 'program', command: ['node', 'agent.mjs'] } }),
  'agent.mjs': `
import { createInterface } from 'node:readline';
${common}
const say = to(process.stdout);
const message = (json) => json + '\\n';
const done = () => say('{"type":"result"}\\n');
const table = ${attacks(anybody)};
process.on('SIGINT', () => {});
for await (const line of createInterface({ input: process.stdin })) await table[JSON.parse(line).content]();
`,
};

/** What stands in the place of the bridge, and writes straight to the runner. */
const takenBridge = `
const socket = ${runnerSocket};
socket.removeAllListeners();
socket.on('error', () => {});
${common}
const say = to(socket);
const message = (json) => '{"jsonrpc":"2.0","method":"message","params":' + json + '}\\n';
const reply = (id, result) => say(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\\n');
let query;
const done = () => reply(query, { status: 'completed' });
const table = {
  ...${attacks(anybody)},
  ...${attacks({
    'a request': `await say('{"jsonrpc":"2.0","id":1,"method":"query","params":{}}\\n'); await forever();`,
    'no JSON-RPC': `await say('{"id":1,"result":{}}\\n'); await forever();`,
    'an impossible reply': `await reply(query, { status: 'levitating', cause: '<b>', usage: { costUsd: -1 } });`,
    'an odd end': `await reply(query, { status: 'failed', cause: 'Not A Code', detail: 5 });`,
    'answers to nothing': `await say('{"jsonrpc":"2.0","id":999,"result":{}}\\n'.repeat(100000)); await done();`,
    'a closed connection': `socket.end(); await forever();`,
  })},
};
const { createInterface } = process.getBuiltinModule('node:readline');
createInterface({ input: socket }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method !== 'query') return;
  query = id;
  void table[params.content]();
});
void forever();
`;

/** A bridge that is the agent's from its first turn on, which has to be `behave`. */
export const hostileBridge = {
  'atoll.json': JSON.stringify({ executor: { kind: 'program', command: ['node', 'agent.mjs'] } }),
  'agent.mjs': `
import { createInterface } from 'node:readline';
${evaluateInBridge}
await evaluate(${JSON.stringify(takenBridge)});
createInterface({ input: process.stdin }).on('line', () => process.stdout.write('{"behaved":true}\\n{"type":"result"}\\n'));
`,
};
