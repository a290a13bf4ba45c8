import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createUsageReader } from './usage.ts';

type Answer = { status?: number; type?: string; sent?: number };

/** Of an answer that came in pieces of so many bytes. */
function tokensOf(answer: string, { status = 200, type = 'text/event-stream', sent = 0 }: Answer, size = 7) {
  const usage = createUsageReader();
  usage.sent(sent);
  usage.answered(status, { 'content-type': type });
  for (let at = 0; at < answer.length; at += size) usage.received(Buffer.from(answer.slice(at, at + size)));
  return usage.tokens();
}

const sse = (...events: object[]) =>
  events.map((event) => `event: x\r\ndata: ${JSON.stringify(event)}\r\n\r\n`).join('');
const json = { type: 'application/json' };

const begun = {
  type: 'message_start',
  message: {
    usage: {
      input_tokens: 10,
      cache_creation_input_tokens: 200,
      cache_read_input_tokens: 3000,
      output_tokens: 1,
    },
  },
};
const delta = { type: 'content_block_delta', delta: { text: 'says "usage": {"output_tokens": 0}' } };
const stopped = { type: 'message_delta', usage: { output_tokens: 40 } };

test('Anthropic: read, cached and written tokens, of a stream and of a whole answer', () => {
  for (const size of [1, 7, 100_000])
    assert.equal(tokensOf(sse(begun, delta, stopped, { type: 'message_stop' }), {}, size), 3250);
  const whole = { content: [{ input: { usage: { output_tokens: 0 } } }], ...begun.message };
  assert.equal(tokensOf(JSON.stringify(whole), json), 3211);
});

test('OpenAI: responses and chat completions, of a stream and of a whole answer', () => {
  const used = { input_tokens: 70, output_tokens: 5, input_tokens_details: { cached_tokens: 60 } };
  const created = { type: 'response.created', response: { usage: null } };
  const completed = { type: 'response.completed', response: { usage: used } };
  assert.equal(tokensOf(sse(created, delta, completed), {}), 75);
  const chunk = { choices: [{}], usage: null };
  const last = { choices: [], usage: { prompt_tokens: 8, completion_tokens: 4, total_tokens: 12 } };
  assert.equal(tokensOf(`${sse(chunk, chunk, last)}data: [DONE]\n\n`, {}), 12);
  assert.equal(tokensOf(JSON.stringify({ usage: used }), json), 75);
});

test('what is not said is counted by size: leaving before the end saves nothing', () => {
  assert.equal(tokensOf(sse(begun, ...Array(50).fill(delta)), {}), 3210 + 51);
  assert.equal(tokensOf(sse({ choices: [] }, { choices: [] }), { sent: 400 }), 100 + 2);
  assert.equal(tokensOf('x'.repeat(80), { ...json, sent: 4 }), 1 + 20);
  const huge = JSON.stringify({ text: 'x'.repeat(5 << 20), usage: { input_tokens: 1, output_tokens: 1 } });
  assert.equal(tokensOf(huge, json, 1 << 16), Math.ceil(huge.length / 4));
  assert.equal(tokensOf(`data: ${huge}\n\n${sse(stopped)}`, {}, 1 << 16), 40, 'and it goes on after it');
});

test('a call that was refused, or never answered, costs nothing', () => {
  assert.equal(tokensOf(JSON.stringify({ usage: { input_tokens: 9 } }), { ...json, status: 529 }), 0);
  assert.equal(createUsageReader().tokens(), 0);
});
