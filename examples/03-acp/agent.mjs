/**
 * The smallest agent that speaks the Agent Client Protocol: one JSON-RPC object a line on stdin and stdout. A real one
 * asks a model; this one plans a trip, and asks before it books. Its conversation is a file in its home, so that it can
 * go on with it anywhere.
 */
import { randomUUID } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const waiting = new Map();
let asked = 0;

const methods = {
  initialize: () => ({ protocolVersion: 1, agentCapabilities: { loadSession: true } }),
  'session/new': () => {
    const sessionId = randomUUID();
    writeFileSync(fileOf(sessionId), '');
    return { sessionId };
  },
  'session/load': ({ sessionId }) => {
    if (!existsSync(fileOf(sessionId))) throw new Error(`there is no session ${sessionId}`);
    return {};
  },
  'session/prompt': async ({ sessionId, prompt }) => {
    const text = prompt.map((block) => block.text ?? '').join('\n');
    const stopped = (await answer(sessionId, text)) === 'cancelled';
    return { stopReason: stopped ? 'cancelled' : 'end_turn' };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (message.method === undefined) waiting.get(message.id)?.(message.result);
  else if (message.id !== undefined) void serve(message);
}

async function serve({ id, method, params }) {
  try {
    if (!Object.hasOwn(methods, method))
      return send({ id, error: { code: -32601, message: 'no such method' } });
    send({ id, result: await methods[method](params) });
  } catch (error) {
    send({ id, error: { code: -32603, message: error.message } });
  }
}

async function answer(sessionId, text) {
  if (text !== 'book') {
    appendFileSync(fileOf(sessionId), `${text}\n`);
    return say(
      sessionId,
      `On the list: ${readFileSync(fileOf(sessionId), 'utf8').trim().split('\n').join(', ')}`,
    );
  }
  const stops = readFileSync(fileOf(sessionId), 'utf8').trim().split('\n');
  const outcome = await askPermission(sessionId, 'book', { stops });
  if (outcome === 'cancelled') return outcome;
  if (outcome === 'yes') writeFileSync('tickets.txt', stops.map((stop) => `1 ticket to ${stop}\n`).join(''));
  say(sessionId, outcome === 'yes' ? 'Booked: see tickets.txt.' : 'Not booked.');
}

async function askPermission(sessionId, name, rawInput) {
  const toolCall = {
    toolCallId: randomUUID(),
    name,
    title: `${name} ${rawInput.stops.length}`,
    kind: 'execute',
    rawInput,
  };
  const options = [
    { optionId: 'yes', name: 'Book', kind: 'allow_once' },
    { optionId: 'no', name: 'Do not', kind: 'reject_once' },
  ];
  const { outcome } = await call('session/request_permission', { sessionId, toolCall, options });
  return outcome.outcome === 'selected' ? outcome.optionId : 'cancelled';
}

function say(sessionId, text) {
  const update = { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text } };
  send({ method: 'session/update', params: { sessionId, update } });
}

function call(method, params) {
  const id = ++asked;
  send({ id, method, params });
  return new Promise((resolve) => waiting.set(id, resolve));
}

function send(message) {
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
}

function fileOf(sessionId) {
  return `${process.env.HOME}/trip-${sessionId}.txt`;
}
