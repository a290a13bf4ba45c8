import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { gatherBlob } from '../gather-blob.ts';
import { bodyPieces, gatherBody } from './body.ts';

const gather = (source: PassThrough, announced?: string) => gatherBody(source, { announced, maxBytes: 10 });

test('a body is gathered up to its limit', async () => {
  const source = new PassThrough();
  source.write('12345');
  source.end('67890');
  assert.equal(String(await gather(source)), '1234567890');
});

test('one that is too large is refused by what it says and by what it is, and its source stays open', async () => {
  const announced = new PassThrough();
  await assert.rejects(gather(announced, '11'), { code: 'body_too_large' });
  assert.equal(announced.readableFlowing, null, 'nothing of it was read');
  const longer = new PassThrough();
  longer.write('1234567890');
  longer.write('1');
  await assert.rejects(gather(longer), { code: 'body_too_large' });
  assert.equal(longer.destroyed, false);
});

test('one whose client leaves in the middle is broken off', async () => {
  for (const leave of [
    (source: PassThrough) => source.destroy(),
    (source: PassThrough) => source.destroy(new Error('reset')),
  ]) {
    const source = new PassThrough();
    const gathered = assert.rejects(gather(source), { code: 'invalid_request' });
    source.write('1');
    leave(source);
    await gathered;
  }
});

test('one that is over before anybody reads it is not waited for', async () => {
  for (const reason of [undefined, new Error('reset')]) {
    const left = new PassThrough();
    const closed = new Promise((resolve) => left.on('error', () => undefined).once('close', resolve));
    left.destroy(reason);
    await closed;
    await assert.rejects(gather(left), { code: 'invalid_request' });
  }
  const read = new PassThrough();
  await once(read.resume().end('1'), 'end');
  assert.equal(String(await gather(read)), '');
});

test('a body that is gathered is given up when nothing of it comes', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const source = new PassThrough();
  const gathered = assert.rejects(gather(source), { code: 'request_timeout' });
  mock.timers.tick(60_000);
  await gathered;
  assert.equal(source.destroyed, false);
  assert.equal(source.listenerCount('data'), 0);
});

test('a client that falls silent is given up, one that is slow is not', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const source = new PassThrough();
  const pieces = bodyPieces(source, { silenceMs: 100 });
  for (let round = 0; round < 3; round++) {
    const piece = pieces.next();
    mock.timers.tick(90);
    source.write('x');
    assert.equal(String((await piece).value), 'x');
  }
  const never = assert.rejects(pieces.next(), { code: 'request_timeout' });
  mock.timers.tick(100);
  await never;
  assert.equal(source.destroyed, false);
});

test('an upload that is gathered and too large is left open, and can be read on to its end', {
  timeout: 10_000,
}, async () => {
  const source = new PassThrough();
  const gathered = assert.rejects(gatherBlob(bodyPieces(source), { maxBytes: 2 }), {
    code: 'body_too_large',
  });
  for (const piece of ['12', '3']) {
    source.write(piece);
    await setImmediate();
  }
  await gathered;
  source.resume();
  for (const piece of ['4', '5']) {
    source.write(piece);
    await setImmediate();
  }
  await once(source.end(), 'end');
});

test('an upload that is gathered and falls silent is told so', async () => {
  const source = new PassThrough();
  const pieces = bodyPieces(source, { silenceMs: 1 });
  await assert.rejects(gatherBlob(pieces, { maxBytes: 2 }), { code: 'request_timeout' });
});
