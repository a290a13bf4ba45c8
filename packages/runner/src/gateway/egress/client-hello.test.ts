import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import tls from 'node:tls';
import { peek } from './client-hello.ts';

/** What Node says first as a client. */
async function helloTo(servername: string): Promise<Buffer> {
  const said = Promise.withResolvers<Buffer>();
  const socket = new Duplex({ read() {}, write: (chunk: Buffer) => said.resolve(chunk) });
  tls.connect({ socket, servername }).on('error', () => undefined);
  return said.promise;
}

test('the name is found however the hello is cut, and not before all of it is there', async () => {
  const hello = await helloTo('one.example');
  assert.deepEqual(peek(hello), { kind: 'named', name: 'one.example' });
  for (let length = 0; length < hello.length; length++)
    assert.deepEqual(peek(hello.subarray(0, length)), { kind: 'more' }, `${length}`);
  // In two records of one message.
  const [first, second] = [hello.subarray(5, 60), hello.subarray(60)];
  const record = (part: Buffer) =>
    Buffer.concat([Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part]);
  assert.deepEqual(peek(Buffer.concat([record(first), record(second)])), {
    kind: 'named',
    name: 'one.example',
  });
});

test('what is no TLS, or names nobody, is told from what nobody can read', async () => {
  assert.deepEqual(peek(Buffer.from('SSH-2.0-x\r\n')), { kind: 'nameless' });
  assert.deepEqual(peek(await helloTo('')), { kind: 'nameless' });
  assert.deepEqual(peek(Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])), { kind: 'broken' }, 'another message');
  assert.deepEqual(
    peek(Buffer.from([22, 3, 1, 0, 5, 1, 0, 0, 1, 0])),
    { kind: 'broken' },
    'too short for a hello',
  );
  assert.deepEqual(peek(Buffer.alloc(65_536, 22)), { kind: 'broken' }, 'without end');
});

test('a hello in more records than anybody makes of it is not waited for', () => {
  const begun = Buffer.from([22, 3, 1, 0, 4, 1, 0, 255, 0]);
  const empty = (count: number) => Buffer.alloc(5 * count, Buffer.from([22, 3, 1, 0, 0]));
  assert.deepEqual(peek(Buffer.concat([begun, empty(60)])), { kind: 'more' });
  assert.deepEqual(peek(Buffer.concat([begun, empty(64)])), { kind: 'broken' });
});

test('no change of a byte makes it throw', async () => {
  const hello = await helloTo('one.example');
  for (let at = 0; at < hello.length; at++)
    for (const value of [0, 1, 127, 255]) {
      const bent = Buffer.from(hello);
      bent[at] = value;
      assert.ok(peek(bent).kind);
    }
});
