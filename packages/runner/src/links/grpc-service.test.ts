import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PIECE_BYTES, WINDOW_BYTES } from '@atoll/protocol/byte-channel';
import { createGrpcService } from './grpc-service.ts';
import type { HeldLink } from './held-link.ts';

test('a coordinator that sends more of a file than it may ends its stream: no piece is left out', () => {
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  const taking = { workspaceOf: (id: string) => id, files: { write: () => new Promise(() => undefined) } };
  const service = createGrpcService({ link: taking as unknown as HeldLink, logger });
  const stream = { send: () => undefined, signal: new AbortController().signal, close: () => undefined };
  const of = { workspaceId: 'ses_1', path: 'large', offset: 0, prefix: '', limit: 0, cursor: '' };
  service.receive(
    { message: 'fileRequest', fileRequest: { requestId: 'file_1', op: 'write', ...of } },
    stream,
  );
  const bytes = Buffer.alloc(PIECE_BYTES);
  const fileChunk = { requestId: 'file_1', bytes, last: false, cause: '', detail: '' };
  const send = () => service.receive({ message: 'fileChunk', fileChunk }, stream);
  for (let sent = 0; sent < WINDOW_BYTES; sent += PIECE_BYTES) send();
  assert.throws(send, { code: 'invalid_request' });
});
