/**
 * A remote MCP server on loopback, over Streamable HTTP (https://modelcontextprotocol.io), that lets nobody in without
 * its bearer token: JSON-RPC by POST, answered as an SSE stream; a stream by GET; the end of a session by DELETE. One
 * tool, `lookup {word}`, which also says which headers it was asked with, as a careless server would.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type McpServer = AsyncDisposable & {
  /** Its endpoint. */
  readonly url: string;
  /** `METHOD what`, in order; refused ones too. */
  readonly calls: readonly string[];
};

type Message = { id?: number | string; method?: string; params?: Record<string, unknown> };

const tools = [
  {
    name: 'lookup',
    description: 'Looks a word up.',
    inputSchema: { type: 'object', properties: { word: { type: 'string' } }, required: ['word'] },
  },
];

export async function startMcpServer({ token }: { token: string }): Promise<McpServer> {
  const calls: string[] = [];
  const sessions = new Set<string>();
  const server = createServer((request, response) => {
    serve(request, response, { token, calls, sessions }).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    calls,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

type Standing = { token: string; calls: string[]; sessions: Set<string> };

async function serve(request: IncomingMessage, response: ServerResponse, standing: Standing): Promise<void> {
  const { token, calls, sessions } = standing;
  const { method = '', headers } = request;
  const message: Message =
    method === 'POST' ? JSON.parse(Buffer.concat(await request.toArray()).toString()) : {};
  calls.push(`${method} ${message.method ?? ''}`.trim());
  if (headers.authorization !== `Bearer ${token}`)
    return void response.writeHead(401, { 'www-authenticate': 'Bearer' }).end();
  if (message.method === 'initialize') return begin(message, response, sessions);
  const session = String(headers['mcp-session-id']);
  if (!sessions.has(session)) return void response.writeHead(404).end();
  if (method === 'DELETE') {
    sessions.delete(session);
    return void response.writeHead(200).end();
  }
  if (method === 'GET') {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    return;
  }
  if (message.id === undefined) return void response.writeHead(202).end();
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  reply(response, message, resultOf(message, headers));
}

function begin(message: Message, response: ServerResponse, sessions: Set<string>): void {
  const session = randomUUID();
  sessions.add(session);
  response.writeHead(200, { 'content-type': 'text/event-stream', 'mcp-session-id': session });
  reply(response, message, {
    protocolVersion: message.params?.protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: 'stand-in', version: '1' },
  });
}

function resultOf({ method, params }: Message, headers: IncomingHttpHeaders): unknown {
  if (method === 'tools/list') return { tools };
  if (method !== 'tools/call') return {};
  const { word } = { word: 'Nothing', ...Object(params?.arguments) };
  return { content: [{ type: 'text', text: `${word} is a word. Asked with ${JSON.stringify(headers)}` }] };
}

function reply(response: ServerResponse, { id }: Message, result: unknown): void {
  response.end(`event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', id, result })}\n\n`);
}
