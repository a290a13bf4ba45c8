import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesText, durationText } from './amounts.ts';

test('bytes have the largest unit of which there is one', () => {
  assert.deepEqual([0, 1023, 1024, 1536, 1024 ** 2 - 1, 3 * 1024 ** 5].map(bytesText), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '1024.0 KiB',
    '3072.0 TiB',
  ]);
});

test('times have two units at most', () => {
  assert.deepEqual([0, 59.4, 59.6, 3599, 3600, 90_061].map(durationText), [
    '0 s',
    '59 s',
    '1 min 0 s',
    '59 min 59 s',
    '1 h 0 min',
    '25 h 1 min',
  ]);
});
