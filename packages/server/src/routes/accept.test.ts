import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formWanted } from './accept.ts';

const both = (accept: string | undefined) => [formWanted(accept, 'stream'), formWanted(accept, 'json')];

test('who says nothing of it, or takes both alike, gets what comes first', () => {
  const all = [undefined, '', '*/*', 'text/html, */*;q=0.8', 'application/json, text/event-stream'];
  for (const accept of [...all, 'text/*, application/*', '*/*;q=much'])
    assert.deepEqual(both(accept), ['stream', 'json'], accept);
});

test('who names one gets that one', () => {
  const json = ['application/json', 'APPLICATION/JSON', 'application/json; charset=utf-8', 'application/*'];
  for (const accept of [...json, 'application/json, text/plain, */*', 'application/json;q=0.1'])
    assert.deepEqual(both(accept), ['json', 'json'], accept);
  for (const accept of ['text/event-stream', 'Text/Event-Stream', 'text/*', '*/* , text/event-stream'])
    assert.deepEqual(both(accept), ['stream', 'stream'], accept);
});

test('weights decide first, and none of one refuses it', () => {
  const json = ['text/event-stream;q=0, application/json', 'text/event-stream;q=0.5, application/*;q=0.6'];
  for (const accept of [...json, '*/*, text/event-stream;q=0'])
    assert.deepEqual(both(accept), ['json', 'json'], accept);
  const stream = 'application/json; q=0.5, text/event-stream; q=0.9';
  assert.deepEqual(both(stream), ['stream', 'stream']);
});

test('who wants neither is told what there is', () => {
  for (const accept of ['text/html', 'image/*', '*/*;q=0', 'application/json;q=0.0', 'json'])
    assert.throws(() => both(accept), { code: 'not_acceptable' }, accept);
});
