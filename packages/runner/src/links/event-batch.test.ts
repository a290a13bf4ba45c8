import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runnerProto } from '@atoll/protocol/grpc-messages';
import { loadSync } from '@grpc/proto-loader';
import { encodeEventBatch } from './event-batch.ts';

const definition = loadSync(fileURLToPath(runnerProto), { longs: Number, defaults: true, oneofs: true });
const { Connect } = definition['atoll.runner.v1.RunnerService'] as import('@grpc/grpc-js').ServiceDefinition;
assert.ok(Connect);
const { requestDeserialize } = Connect;

/** As a coordinator's library reads it. */
function decoded(batch: Parameters<typeof encodeEventBatch>[0]) {
  const { message, eventBatch } = requestDeserialize(encodeEventBatch(batch)) as {
    message: string;
    eventBatch: { sandboxId: string; epoch: number; commandId: string; firstLine: number; bytes: Buffer };
  };
  assert.equal(message, 'eventBatch');
  return { ...eventBatch, bytes: eventBatch.bytes.toString() };
}

test('a batch is what the definition says: its messages one below the other, nothing of what is between them', () => {
  const bytes = Buffer.from('..{"a":1}....{"ü":"€"}.');
  const of = { sandboxId: 'sbx_1', epoch: 3, commandId: 'turn_1', firstLine: 7 };
  assert.deepEqual(decoded({ ...of, messages: { bytes, spans: Uint32Array.of(2, 9, 13, 25) } }), {
    ...of,
    bytes: '{"a":1}\n{"ü":"€"}\n',
  });
  // Of the second one alone, out of the middle of a larger buffer.
  const inside = Buffer.concat([Buffer.from('before'), bytes]).subarray(6);
  const second = { bytes: inside, spans: Uint32Array.of(13, 25) };
  assert.equal(decoded({ ...of, messages: second }).bytes, '{"ü":"€"}\n');
});

test('numbers and lengths of every size keep what they are', () => {
  const line = `{"text":"${'x'.repeat(100_000)}"}`;
  for (const number of [0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32 + 5, Number.MAX_SAFE_INTEGER])
    for (const length of [11, 127, 128, 16_384, line.length]) {
      const bytes = Buffer.from(line).subarray(0, length);
      const of = { sandboxId: 's'.repeat(200), epoch: number, commandId: 'ü', firstLine: number };
      const messages = { bytes, spans: Uint32Array.of(0, length) };
      assert.deepEqual(decoded({ ...of, messages }), { ...of, bytes: `${bytes.toString()}\n` });
    }
});
