import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createBoundedLog } from './bounded-log.ts';

it('cuts pieces, says once that the rest is dropped, and begins anew with a turn', () => {
  const sent: string[] = [];
  const log = createBoundedLog((text) => sent.push(text), { maxBytesPerTurn: 10, maxPieceChars: 4 });
  log.write('12345678');
  log.write('90');
  log.write('too much');
  log.write('and more');
  assert.deepEqual(sent.slice(0, 3), ['1234', '5678', '90']);
  assert.equal(sent.length, 4);
  assert.match(sent[3] ?? '', /more than 10 bytes/);
  log.reset();
  log.write('again');
  assert.deepEqual(sent.slice(4), ['agai', 'n']);
});
