import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { StreamEvent } from '../stream-event.ts';
import { openLink } from './link.ts';

const HELLO = { version: '9.9.9', protocolVersion: 1, pid: 1 };

test('events come from any peer that speaks JSON-RPC, however it writes its lines', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'atoll-link-'));
  const path = join(directory, 'worker.sock');
  const server = createServer().listen(path);
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const seen: [string, StreamEvent][] = [];
  const both = Promise.withResolvers<void>();
  const opening = openLink({
    socket: path,
    onEvent(sessionId, event) {
      seen.push([sessionId, event]);
      if (seen.length === 2) both.resolve();
    },
    onUnsubscribed: () => undefined,
  });
  const [peer] = await accepted;
  peer.write(`${JSON.stringify({ jsonrpc: '2.0', method: 'ready', params: HELLO })}\n`);
  const link = await opening;
  peer.write(
    '{"jsonrpc":"2.0","method":"session.event","params":{"sessionId":"ses_1","seq":1,"event":"message","data":{"a": 1}}}\n' +
      '{"params": {"data": {"a": 1}, "event": "message", "seq": 2, "sessionId": "ses_1"}, "method": "session.event", "jsonrpc": "2.0"}\n',
  );
  await both.promise;
  assert.deepEqual(seen, [
    ['ses_1', { seq: 1, event: 'message', text: '{"a": 1}' }],
    ['ses_1', { seq: 2, event: 'message', text: '{"a":1}' }],
  ]);
  await link.close();
  server.close();
  await rm(directory, { recursive: true });
});
