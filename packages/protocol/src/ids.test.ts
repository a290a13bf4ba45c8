import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type IdKind, idPattern, idPrefixes, newId } from './ids.ts';

const fixed = (ms: number, byte: number) => ({
  now: () => ms,
  random: (bytes: Uint8Array) => bytes.fill(byte),
});

test('ids sort by time of creation', () => {
  const times = [0, 1, 31, 32, 1_000, 1_700_000_000_000, 2 ** 48 - 1];
  const ids = times.map((ms) => newId('session', fixed(ms, 0)));
  assert.deepEqual(ids, [...ids].sort());
});

test('every kind matches its own pattern and no other', () => {
  const kinds = Object.keys(idPrefixes) as IdKind[];
  for (const kind of kinds) {
    for (const other of kinds) assert.equal(idPattern(other).test(newId(kind)), other === kind);
  }
});

test('all 80 random bits are in the id', () => {
  assert.match(newId('job', fixed(0, 0)), /^job_0{26}$/);
  assert.match(newId('job', fixed(0, 0xff)), /^job_0{10}z{16}$/);
  assert.equal(new Set(Array.from({ length: 1000 }, () => newId('turn'))).size, 1000);
});
