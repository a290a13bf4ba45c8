import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readEvent, readEventLine } from './event-line.ts';

const data = '{"b":1, "a":"\\u00e4}}"}';
const params = `{"sessionId":"ses_1","seq":7,"event":"message","data":${data}}`;

test('an event as our worker writes it keeps its data byte for byte', () => {
  const line = `{"jsonrpc":"2.0","method":"session.event","params":${params}}`;
  assert.deepEqual(readEventLine(line), { sessionId: 'ses_1', seq: 7, event: 'message', text: data });
});

test('any other writer’s event is read from its members', () => {
  const line = `{"method": "session.event","params":${params},"jsonrpc":"2.0"}`;
  assert.equal(readEventLine(line), undefined);
  const { params: given } = JSON.parse(line) as { params: unknown };
  const text = JSON.stringify(JSON.parse(data));
  assert.deepEqual(readEvent(given), { sessionId: 'ses_1', seq: 7, event: 'message', text });
});
