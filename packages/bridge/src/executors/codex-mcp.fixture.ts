/** For tests: an MCP server with a tool that answers, one that should not be called, and one that asks its user. */
import { createInterface } from 'node:readline';

const ASKED = 'asked';
const tools = ['ping', 'secret', 'ask'].map((name) => ({
  name,
  description: name,
  inputSchema: { type: 'object', properties: {} },
  annotations: { readOnlyHint: name === 'ping' },
}));
const requestedSchema = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer' } },
  required: ['name', 'age'],
};
let asking: unknown;

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params, result } = JSON.parse(line);
  if (id === ASKED) {
    const { name, age } = result.content;
    reply(asking, text(`${name} ${age} ${typeof age}`));
  } else if (id === undefined) continue;
  else if (method === 'initialize') {
    const { protocolVersion } = params;
    reply(id, { protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'x', version: '1' } });
  } else if (method === 'tools/list') reply(id, { tools });
  else if (params.name === 'ask') {
    asking = id;
    send({ id: ASKED, method: 'elicitation/create', params: { message: 'Who?', requestedSchema } });
  } else reply(id, text(`pong ${process.env.MARK}`));
}

function text(said: string): object {
  return { content: [{ type: 'text', text: said }] };
}

function reply(id: unknown, result: object): void {
  send({ id, result });
}

function send(message: object): void {
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
}
