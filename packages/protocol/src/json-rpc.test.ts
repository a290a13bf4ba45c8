import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from './errors.ts';
import { createPeer, type Handler, type Peer, RpcError } from './json-rpc.ts';

/** Two peers, each sending what the other receives. */
function pair(handlers: Record<string, Handler>): { left: Peer; sent: string[] } {
  const sent: string[] = [];
  const left: Peer = createPeer({
    handlers: {},
    channel: {
      async send(text) {
        sent.push(text);
        right.receive(JSON.parse(text));
      },
    },
  });
  const right: Peer = createPeer({
    handlers,
    channel: { send: async (text) => left.receive(JSON.parse(text)) },
  });
  return { left, sent };
}

test('calls are answered by id, in whatever order', async () => {
  const slow = Promise.withResolvers<string>();
  const { left } = pair({ slow: () => slow.promise, fast: async ({ n }) => n });
  const first = left.call('slow', {});
  assert.equal(await left.call('fast', { n: 2 }), 2);
  slow.resolve('late');
  assert.equal(await first, 'late');
});

test('an AtollError arrives as itself, with code and detail', async () => {
  const { left } = pair({
    fail: async () => {
      throw new AtollError('no_capacity', 'full');
    },
  });
  await assert.rejects(
    left.call('fail', {}),
    (error) => error instanceof AtollError && error.code === 'no_capacity' && error.detail === 'full',
  );
});

test('an unknown method is -32601, even one that every object has', async () => {
  const { left } = pair({});
  for (const method of ['nothing', 'toString', '__proto__'])
    await assert.rejects(
      left.call(method, {}),
      (error) => error instanceof RpcError && error.code === -32601,
    );
});

test('close rejects what waits and aborts what runs', async () => {
  let aborted = false;
  const peer = createPeer({
    channel: { send: async () => undefined },
    handlers: {
      wait: (_params, { signal }) =>
        new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            aborted = true;
            resolve(undefined);
          }),
        ),
    },
  });
  peer.receive({ jsonrpc: '2.0', id: 1, method: 'wait' });
  const waiting = peer.call('x', {});
  peer.close(new Error('gone'));
  await assert.rejects(waiting, /gone/);
  await assert.rejects(peer.call('y', {}), /gone/);
  assert.equal(aborted, true);
});

test('what is not JSON-RPC is refused, and an answer to nothing is ignored', () => {
  const peer = createPeer({ channel: { send: async () => undefined }, handlers: {} });
  for (const message of [null, 5, [], {}, { jsonrpc: '1.0', method: 'x' }])
    assert.throws(() => peer.receive(message), RpcError);
  for (const id of [1.5, null, {}, 'x'.repeat(65)])
    assert.throws(() => peer.receive({ jsonrpc: '2.0', id, method: 'x' }), RpcError);
  peer.receive({ jsonrpc: '2.0', id: 99, result: 1 });
});
