import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ChatCompletionsApi, startChatCompletionsApi } from './chat-completions-api.ts';

let api: ChatCompletionsApi;
before(async () => {
  api = await startChatCompletionsApi({ apiKey: 'sk-x' });
});
after(() => api.close());

const tools = [{ type: 'function', function: { name: 'write', parameters: {} } }];

function ask(body: unknown, key = 'sk-x'): Promise<Response> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  return fetch(`${api.url}/chat/completions`, { method: 'POST', headers, body: JSON.stringify(body) });
}

const chat = (content: string, more: object = {}) => ({
  model: 'm',
  tools,
  messages: [
    { role: 'system', content: 'remember nothing' },
    { role: 'user', content },
  ],
  ...more,
});

type Call = { id: string; function: { arguments: string } };
type Choice = { finish_reason: string; message: { content: string; tool_calls: Call[] } };

/** The one choice of an answer that is not streamed. */
async function choiceOf(response: Response): Promise<Choice> {
  const { choices } = (await response.json()) as { choices: [Choice] };
  return choices[0];
}

async function chunksOf(response: Response): Promise<Record<string, unknown>[]> {
  const lines = (await response.text()).split('\n\n').filter((line) => line !== '');
  assert.equal(lines.at(-1), 'data: [DONE]');
  return lines.slice(0, -1).map((line) => JSON.parse(line.slice('data: '.length)));
}

test('an answer is streamed in pieces, with usage when it is asked for', async () => {
  const streamed = await ask(chat('hello', { stream: true, stream_options: { include_usage: true } }));
  const chunks = await chunksOf(streamed);
  const choices = chunks.flatMap(({ choices }) => choices as { delta: { content?: string } }[]);
  assert.equal(choices.map(({ delta }) => delta.content ?? '').join(''), 'You said: hello');
  assert.ok(chunks.length > 4 && 'usage' in Object(chunks.at(-1)));
});

test('a tool is called, and its result is quoted', async () => {
  const choice = await choiceOf(await ask(chat('call write {"filePath":"a"}')));
  const [call] = choice.message.tool_calls;
  assert.equal(choice.finish_reason, 'tool_calls');
  assert.deepEqual(JSON.parse(call?.function.arguments ?? ''), { filePath: 'a' });
  const result = { role: 'tool', tool_call_id: call?.id, content: 'done' };
  const { messages } = chat('call write {"filePath":"a"}');
  const answer = await choiceOf(
    await ask({ model: 'm', tools, messages: [...messages, choice.message, result] }),
  );
  assert.equal(answer.message.content, 'The tool answered: done');
});

test('errors have the shape of the original', async () => {
  for (const [response, status] of [
    [await ask(chat('hello'), 'wrong'), 401],
    [await ask({ model: 'm' }), 400],
    [await ask(chat('fail with 429')), 429],
    [await fetch(`${api.url}/embeddings`, { headers: { authorization: 'Bearer sk-x' } }), 404],
  ] as const) {
    assert.equal(response.status, status);
    assert.equal(typeof Object(await response.json()).error.message, 'string');
  }
});

test('an agent’s own small requests, which offer no tools, get a small answer', async () => {
  const { message } = await choiceOf(await ask({ ...chat('a title, please'), tools: [] }));
  assert.equal(message.content, 'ok');
});
