/**
 * A stand-in of the OpenAI Responses API on loopback, close enough to the original that the real Codex cannot tell
 * (https://platform.openai.com/docs/api-reference/responses): streaming and plain answers, the model list, and errors
 * in the original's shape. What it answers is a script's business.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { listen, parseBody, type RecordedRequest, readBody, sendJson, stream } from './loopback.ts';
import { asRequest, checkKey, checkRequest } from './responses-check.ts';
import { type ApiFailure, errorBody, replyEvents, replyResponse } from './responses-reply.ts';
import { defaultResponsesScript, type ResponsesScript } from './responses-script.ts';

export type ResponsesApi = {
  /** Without `/v1`. */
  readonly url: string;
  /** Every request, in order of arrival, refused ones too. */
  readonly requests: readonly RecordedRequest[];
  close(): Promise<void>;
};

export type ResponsesApiOptions = {
  /** The one key that is let in, as a bearer token. */
  apiKey: string;
  script?: ResponsesScript;
  /** Milliseconds between two deltas of a stream; 0 by default. */
  chunkDelayMs?: number;
};

const MODELS = ['gpt-6.1-sol', 'gpt-5.5'];

type Answering = { options: ResponsesApiOptions; number: number };

export async function startResponsesApi(options: ResponsesApiOptions): Promise<ResponsesApi> {
  const requests: RecordedRequest[] = [];
  let counter = 0;
  const { url, close } = await listen((request, response) =>
    handle(request, response, requests, { options, number: ++counter }),
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
  response.setHeader('x-request-id', `req_standin_${answering.number}`);
  const refused = checkKey(request.headers.authorization, answering.options.apiKey);
  if (refused) return fail(response, refused);
  const route = `${method} ${path}`;
  if (route === 'GET /v1/models') return sendJson(response, 200, modelList());
  if (route !== 'POST /v1/responses') return fail(response, unknown(route));
  const wrong = checkRequest(body);
  if (wrong) return fail(response, wrong);
  await reply(response, body, answering);
}

async function reply(response: ServerResponse, body: unknown, { options, number }: Answering): Promise<void> {
  const request = asRequest(body);
  const scripted = (options.script ?? defaultResponsesScript)(request);
  if ('error' in scripted) return fail(response, scripted.error);
  if (request.stream !== true) return sendJson(response, 200, replyResponse(request, scripted.items, number));
  const delayMs = scripted.chunkDelayMs ?? options.chunkDelayMs ?? 0;
  const pace = { delayMs, cutAfterChunks: scripted.cutAfterChunks };
  await stream(response, replyEvents(request, scripted.items, number), pace);
}

function fail(response: ServerResponse, failure: ApiFailure): void {
  if (failure.retryAfterSeconds !== undefined) response.setHeader('retry-after', failure.retryAfterSeconds);
  sendJson(response, failure.status, errorBody(failure));
}

function unknown(route: string): ApiFailure {
  const message = `Invalid URL (${route})`;
  return { status: 404, type: 'invalid_request_error', code: null, message };
}

function modelList(): unknown {
  const data = MODELS.map((id) => ({ id, object: 'model', created: 1_700_000_000, owned_by: 'openai' }));
  return { object: 'list', data };
}
