/**
 * A stand-in of the OpenAI Chat Completions API on loopback, as servers that are compatible with it speak
 * (https://platform.openai.com/docs/api-reference/chat): streaming and plain answers with tool calls, the model list,
 * and errors in the original's shape. Its model understands the sentences of `sentences.ts`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type ChatRequest,
  completion,
  completionChunks,
  parseChat,
  toMessages,
} from './chat-completions-chat.ts';
import { listen, parseBody, type RecordedRequest, readBody, sendJson, stream } from './loopback.ts';
import { defaultScript } from './messages-script.ts';

export type ChatCompletionsApi = {
  /** For OPENAI_BASE_URL. */
  readonly url: string;
  /** Every request, in order of arrival, refused ones too. */
  readonly requests: readonly RecordedRequest[];
  close(): Promise<void>;
};

const MODELS = ['stand-in-large', 'stand-in-small'];

/** `apiKey` is the one bearer token that is let in. */
export async function startChatCompletionsApi({ apiKey }: { apiKey: string }): Promise<ChatCompletionsApi> {
  const requests: RecordedRequest[] = [];
  const { url, close } = await listen(handle);

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', headers } = request;
    const path = new URL(request.url ?? '/', 'http://stand-in').pathname;
    const bytes = await readBody(request);
    const body = bytes && parseBody(bytes);
    requests.push({ method, path, headers, body });
    if (headers.authorization !== `Bearer ${apiKey}`)
      return fail(response, 401, 'Incorrect API key provided.');
    if (`${method} ${path}` === 'GET /v1/models')
      return sendJson(response, 200, { object: 'list', data: MODELS.map((id) => ({ id, object: 'model' })) });
    if (`${method} ${path}` !== 'POST /v1/chat/completions')
      return fail(response, 404, `Unknown request URL: ${method} ${path}.`);
    const chat = parseChat(body);
    if (chat === undefined) return fail(response, 400, 'This is no chat completion request.');
    await reply(response, chat, requests.length);
  }

  return { url: `${url}/v1`, requests, close };
}

async function reply(response: ServerResponse, request: ChatRequest, number: number): Promise<void> {
  const scripted = defaultScript(toMessages(request));
  if ('error' in scripted) return fail(response, scripted.error.status, scripted.error.message);
  if (!request.stream) return sendJson(response, 200, completion(request, scripted.blocks, number));
  const pace = { delayMs: scripted.chunkDelayMs ?? 0, cutAfterChunks: scripted.cutAfterChunks };
  await stream(response, events(request, scripted.blocks, number), pace);
}

function* events(...said: Parameters<typeof completionChunks>): Generator<{ text: string; delta: boolean }> {
  for (const chunk of completionChunks(...said))
    yield { text: `data: ${JSON.stringify(chunk)}\n\n`, delta: true };
  yield { text: 'data: [DONE]\n\n', delta: false };
}

function fail(response: ServerResponse, status: number, message: string): void {
  const type = status === 429 ? 'rate_limit_error' : status < 500 ? 'invalid_request_error' : 'server_error';
  sendJson(response, status, { error: { message, type, param: null, code: null } });
}
