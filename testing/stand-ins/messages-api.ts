/**
 * A stand-in of the Anthropic Messages API on loopback, close enough to the original that the real Claude Agent
 * SDK cannot tell (https://docs.anthropic.com/en/api/messages): streaming and plain answers, token counting, the
 * model list, and errors in the original's shape. What it answers is a script's business.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { listen, parseBody, type RecordedRequest, readBody, sendJson, stream } from './loopback.ts';
import { asRequest, checkKey, checkRequest } from './messages-check.ts';
import { type ApiFailure, countTokens, errorBody, replyEvents, replyMessage } from './messages-reply.ts';
import { defaultScript, type Script } from './messages-script.ts';

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

const MODELS = ['claude-opus-4-8', 'claude-sonnet-5', 'claude-haiku-4-5'];

type Answering = { options: MessagesApiOptions; requestId: string; nextId: () => number };

export async function startMessagesApi(options: MessagesApiOptions): Promise<MessagesApi> {
  const requests: RecordedRequest[] = [];
  let counter = 0;
  const nextId = () => ++counter;
  const { url, close } = await listen((request, response) =>
    handle(request, response, requests, { options, requestId: `req_standin_${nextId()}`, nextId }),
  );
  return { url, requests, close };
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
  const body = bytes === undefined ? undefined : parseBody(bytes);
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
  if (route === 'GET /v1/models') return sendJson(response, 200, modelList());
  if (route !== 'POST /v1/messages' && route !== 'POST /v1/messages/count_tokens')
    return fail(response, { status: 404, type: 'not_found_error', message: 'Not found' }, answering);
  const counting = path.endsWith('/count_tokens');
  const wrong = checkRequest(request.headers, body, !counting);
  if (wrong) return fail(response, wrong, answering);
  if (counting) return sendJson(response, 200, { input_tokens: countTokens(body) });
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
  if (request.stream !== true) return sendJson(response, 200, replyMessage(request, scripted.blocks, ids));
  const delayMs = scripted.chunkDelayMs ?? answering.options.chunkDelayMs ?? 0;
  const pace = { delayMs, cutAfterChunks: scripted.cutAfterChunks };
  await stream(response, replyEvents(request, scripted.blocks, ids), pace);
}

function fail(response: ServerResponse, failure: ApiFailure, { requestId }: Answering): void {
  if (failure.retryAfterSeconds !== undefined) response.setHeader('retry-after', failure.retryAfterSeconds);
  sendJson(response, failure.status, errorBody(failure, requestId));
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
