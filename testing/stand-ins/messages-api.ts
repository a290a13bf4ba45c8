/**
 * A stand-in of the Anthropic Messages API on loopback, close enough to the original that the real Claude Agent
 * SDK cannot tell (https://docs.anthropic.com/en/api/messages): streaming and plain answers, token counting, the
 * model list, and errors in the original's shape. What it answers is a script's business.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import { asRequest, checkKey, checkRequest } from './messages-check.ts';
import {
  type ApiFailure,
  countTokens,
  errorBody,
  type Reply,
  replyEvents,
  replyMessage,
} from './messages-reply.ts';
import { defaultScript, type Script } from './messages-script.ts';

export type RecordedRequest = {
  method: string;
  path: string;
  headers: Record<string, string | string[] | undefined>;
  body: unknown;
};

export type MessagesApi = {
  /** For ANTHROPIC_BASE_URL. */
  readonly url: string;
  /** Every request, in order of arrival, refused ones too. */
  readonly requests: readonly RecordedRequest[];
  close(): Promise<void>;
};

export type MessagesApiOptions = {
  /** The one key that is let in, as `x-api-key` or as a bearer token. */
  apiKey: string;
  script?: Script;
  /** Milliseconds between two deltas of a stream; 0 by default. */
  chunkDelayMs?: number;
};

const MAX_BODY_BYTES = 32 * 1024 * 1024;
const MODELS = ['claude-opus-4-8', 'claude-sonnet-5', 'claude-haiku-4-5'];

type Answering = { options: MessagesApiOptions; requestId: string; nextId: () => number };

export async function startMessagesApi(options: MessagesApiOptions): Promise<MessagesApi> {
  const requests: RecordedRequest[] = [];
  let counter = 0;
  const nextId = () => ++counter;
  const server = createServer((request, response) => {
    handle(request, response, requests, { options, requestId: `req_standin_${nextId()}`, nextId }).catch(() =>
      // The client left in the middle of its request: nobody is there to be told.
      response.destroy(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, requests, close: () => close(server) };
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  requests: RecordedRequest[],
  answering: Answering,
): Promise<void> {
  const path = new URL(request.url ?? '/', 'http://stand-in').pathname;
  const method = request.method ?? 'GET';
  const bytes = await readBody(request);
  const body = bytes === undefined ? undefined : parse(bytes);
  requests.push({ method, path, headers: request.headers, body });
  response.setHeader('request-id', answering.requestId);
  if (method === 'HEAD') return void response.writeHead(200).end();
  const refused = checkKey(request.headers, answering.options.apiKey);
  if (refused) return fail(response, refused, answering);
  if (bytes === undefined)
    return fail(
      response,
      { status: 413, type: 'request_too_large', message: 'Request exceeds the maximum size' },
      answering,
    );
  const route = `${method} ${path}`;
  if (route === 'GET /v1/models') return json(response, 200, modelList());
  if (route !== 'POST /v1/messages' && route !== 'POST /v1/messages/count_tokens')
    return fail(response, { status: 404, type: 'not_found_error', message: 'Not found' }, answering);
  const counting = path.endsWith('/count_tokens');
  const wrong = checkRequest(request.headers, body, !counting);
  if (wrong) return fail(response, wrong, answering);
  if (counting) return json(response, 200, { input_tokens: countTokens(body) });
  await reply(response, body, answering);
}

async function reply(response: ServerResponse, body: unknown, answering: Answering): Promise<void> {
  const request = asRequest(body);
  const scripted = (answering.options.script ?? defaultScript)(request);
  if ('error' in scripted) return fail(response, scripted.error, answering);
  const number = answering.nextId();
  const ids = {
    message: `msg_standin_${number}`,
    tool: (index: number) => `toolu_standin_${number}_${index}`,
  };
  if (request.stream !== true) return json(response, 200, replyMessage(request, scripted.blocks, ids));
  await stream(
    response,
    replyEvents(request, scripted.blocks, ids),
    scripted,
    answering.options.chunkDelayMs ?? 0,
  );
}

async function stream(
  response: ServerResponse,
  events: Iterable<{ text: string; delta: boolean }>,
  scripted: Exclude<Reply, { error: unknown }>,
  defaultDelayMs: number,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
  });
  const delayMs = scripted.chunkDelayMs ?? defaultDelayMs;
  let deltas = 0;
  for (const event of events) {
    if (event.delta && deltas++ === scripted.cutAfterChunks) return cut(response);
    // An interrupted client closes the connection; a stream to nobody ends there.
    if (event.delta && delayMs > 0) await delay(delayMs, undefined, { signal: gone.signal });
    if (gone.signal.aborted) return;
    response.write(event.text);
  }
  response.end();
}

/** Closes the connection in the middle of the body, after what was written so far went out. */
async function cut(response: ServerResponse): Promise<void> {
  await setImmediate();
  response.socket?.end();
}

function fail(response: ServerResponse, failure: ApiFailure, { requestId }: Answering): void {
  if (failure.retryAfterSeconds !== undefined) response.setHeader('retry-after', failure.retryAfterSeconds);
  json(response, failure.status, errorBody(failure, requestId));
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** The body, or undefined when it is larger than the original takes. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size <= MAX_BODY_BYTES) parts.push(part);
  }
  return size > MAX_BODY_BYTES ? undefined : Buffer.concat(parts);
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    // Not JSON: the request check says so in the original's words.
    return undefined;
  }
}

function modelList(): unknown {
  const data = MODELS.map((id) => ({
    type: 'model',
    id,
    display_name: id,
    created_at: '2026-01-01T00:00:00Z',
  }));
  return { data, has_more: false, first_id: MODELS[0], last_id: MODELS.at(-1) };
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
