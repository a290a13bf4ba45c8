import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { query } from '@anthropic-ai/claude-agent-sdk';
import { type MessagesApi, startMessagesApi } from './messages-api.ts';
import { sampleOf } from './messages-script.ts';

const API_KEY = 'sk-stand-in';
const HEADERS = {
  'x-api-key': API_KEY,
  'anthropic-version': '2023-06-01',
  'content-type': 'application/json',
};

let api: MessagesApi;
before(async () => {
  api = await startMessagesApi({ apiKey: API_KEY });
});
after(() => api.close());

function post(
  body: unknown,
  headers: Record<string, string> = HEADERS,
  path = '/v1/messages',
): Promise<Response> {
  return fetch(`${api.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
}

const say = (content: string, more: object = {}) => ({
  model: 'claude-sonnet-5',
  max_tokens: 4096,
  messages: [{ role: 'user', content }],
  tools: [{ name: 'Bash' }],
  ...more,
});

describe('errors, in the shape of the original', () => {
  const cases: [string, () => Promise<Response>, number, string][] = [
    ['no key', () => post(say('x'), {}), 401, 'authentication_error'],
    ['a wrong key', () => post(say('x'), { ...HEADERS, 'x-api-key': 'no' }), 401, 'authentication_error'],
    ['no version', () => post(say('x'), { 'x-api-key': API_KEY }), 400, 'invalid_request_error'],
    ['no model', () => post({ ...say('x'), model: undefined }), 400, 'invalid_request_error'],
    ['no max_tokens', () => post({ ...say('x'), max_tokens: undefined }), 400, 'invalid_request_error'],
    ['no messages', () => post({ ...say('x'), messages: [] }), 400, 'invalid_request_error'],
    ['an unknown route', () => post(say('x'), HEADERS, '/v1/nothing'), 404, 'not_found_error'],
    ['an overload', () => post(say('fail with 529')), 529, 'overloaded_error'],
    ['a rate limit', () => post(say('fail with 429')), 429, 'rate_limit_error'],
  ];
  for (const [name, request, status, type] of cases)
    it(`answers ${status} to ${name}`, async () => {
      const response = await request();
      assert.equal(response.status, status);
      assert.equal(response.headers.get('retry-after'), status === 429 ? '1' : null);
      const body = (await response.json()) as { type: string; error: { type: string; message: string } };
      assert.equal(body.type, 'error');
      assert.equal(body.error.type, type);
      assert.ok(body.error.message);
    });

  it('refuses a tool use without its result', async () => {
    const messages = [
      { role: 'user', content: 'run ls' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'Bash', input: {} }] },
      { role: 'user', content: 'and?' },
    ];
    const response = await post({ ...say(''), messages });
    assert.equal(response.status, 400);
    assert.match(await response.text(), /without `tool_result` blocks immediately after: toolu_1/);
  });
});

describe('answers', () => {
  it('gives a whole message, with a bearer token too', async () => {
    const { 'x-api-key': _, ...headers } = HEADERS;
    const response = await post(say('hello'), { ...headers, authorization: `Bearer ${API_KEY}` });
    const message = (await response.json()) as {
      content: unknown;
      stop_reason: string;
      usage: { input_tokens: number };
    };
    assert.deepEqual(message.content, [{ type: 'text', text: 'You said: hello' }]);
    assert.equal(message.stop_reason, 'end_turn');
    assert.ok(message.usage.input_tokens > 0);
  });

  it('streams the events of the original, in order', async () => {
    const body = await (await post(say('run ls', { stream: true }))).text();
    const events = body.split('\n\n').filter(Boolean).map(parseEvent);
    const kinds = events.map(({ type }) => type).filter((type) => type !== 'content_block_delta');
    const frame = [
      'message_start',
      'ping',
      'content_block_start',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ];
    assert.deepEqual(kinds, frame);
    const json = events.map(({ delta }) => delta?.partial_json ?? '').join('');
    assert.equal(JSON.parse(json).command, 'ls');
    assert.equal(events.find(({ type }) => type === 'message_delta')?.delta?.stop_reason, 'tool_use');
  });

  it('cuts a stream, and counts tokens and lists models', async () => {
    await assert.rejects((await post(say('cut the stream', { stream: true }))).text());
    const counted = await (await post(say('x'), HEADERS, '/v1/messages/count_tokens')).json();
    assert.ok((counted as { input_tokens: number }).input_tokens > 0);
    const models = (await (await fetch(`${api.url}/v1/models`, { headers: HEADERS })).json()) as {
      data: unknown[];
    };
    assert.ok(models.data.length > 0);
  });

  it('remembers only what the request holds', async () => {
    const messages = [
      { role: 'user', content: 'remember one' },
      { role: 'assistant', content: 'ok' },
      { role: 'user', content: [{ type: 'text', text: '<system-reminder>remember two</system-reminder>' }] },
      { role: 'user', content: 'what do you remember?' },
    ];
    const body = await (await post({ ...say(''), messages })).text();
    assert.match(body, /I remember: one"/);
  });

  it('makes a sample of a schema', () => {
    const schema = {
      type: 'object',
      properties: {
        a: { enum: ['x', 'y'] },
        b: { type: 'array', items: { type: 'integer' } },
        c: { type: 'boolean' },
      },
    };
    assert.deepEqual(sampleOf(schema), { a: 'x', b: [1], c: true });
  });
});

it('is good enough for the real Claude Agent SDK', async () => {
  const cwd = await mkdtemp(join(tmpdir(), 'atoll-stand-in-'));
  const env = {
    PATH: process.env.PATH,
    HOME: cwd,
    ANTHROPIC_BASE_URL: api.url,
    ANTHROPIC_API_KEY: API_KEY,
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    IS_SANDBOX: '1',
  };
  try {
    const options = { cwd, env, settingSources: [], permissionMode: 'acceptEdits' as const };
    let said = '';
    for await (const message of query({ prompt: 'write hello.txt: hi there', options }))
      if (message.type === 'result' && message.subtype === 'success') said = message.result;
    assert.match(said, /I wrote .*hello\.txt/);
    assert.equal(await readFile(join(cwd, 'hello.txt'), 'utf8'), 'hi there');
  } finally {
    // The CLI may still be writing its last lines while it ends.
    await rm(cwd, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
});

type StreamEvent = { type: string; delta?: { partial_json?: string; stop_reason?: string } };

function parseEvent(block: string): StreamEvent {
  return JSON.parse(block.slice(block.indexOf('data: ') + 'data: '.length));
}
