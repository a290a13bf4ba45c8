import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonLines } from '../json-lines.ts';
import { serveTools } from './serve.ts';

test('a client whose input breaks is gone', { timeout: 5000 }, async () => {
  const lines: JsonLines = {
    // biome-ignore lint/correctness/useYield: it breaks before the first message
    messages: (async function* () {
      throw new Error('read EIO');
    })(),
    send: async () => undefined,
    close: () => undefined,
  };
  const unused = () => assert.fail('nothing was asked for');
  await serveTools({ platform: { call: unused, send: unused, events: unused }, lines });
});
