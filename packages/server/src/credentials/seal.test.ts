import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSealer } from './seal.ts';

const VALUE = 'mark-4f1b0c pass wörd';
const place = { tenant: 'a', name: 'github', version: 3, settings: '{"hosts":["github.com"]}' };
const sealer = createSealer(Buffer.alloc(32, 7));
const other = createSealer(Buffer.alloc(32, 8));

test('what was sealed opens in its place, by whoever has the key', () => {
  const again = createSealer(Buffer.alloc(32, 7));
  assert.equal(again.open(sealer.seal(VALUE, place), place), VALUE);
  const copied = new Uint8Array([9, ...sealer.seal(VALUE, place)]).subarray(1);
  assert.equal(sealer.open(copied, place), VALUE, 'as a view into other bytes');
});

test('no two seals are alike, and none holds the value', () => {
  const seals = Array.from({ length: 100 }, () => Buffer.from(sealer.seal(VALUE, place)));
  assert.equal(new Set(seals.map((sealed) => sealed.subarray(9, 21).toString('hex'))).size, 100, 'nonces');
  for (const sealed of seals) assert.ok(!sealed.includes('mark'));
});

test('in another place it does not open', () => {
  const sealed = sealer.seal(VALUE, place);
  const elsewhere = [
    { tenant: 'b' },
    { name: 'gitlab' },
    { version: 2 },
    { settings: '{"hosts":["evil.example.org"]}' },
    { tenant: 'a","github', name: '' },
  ];
  for (const change of elsewhere)
    assert.throws(() => sealer.open(sealed, { ...place, ...change }), { code: 'credential_unreadable' });
});

test('any changed bit, and any missing byte, is noticed', () => {
  const sealed = Buffer.from(sealer.seal(VALUE, place));
  for (let at = 0; at < sealed.length; at++) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    const code = at >= 1 && at < 9 ? 'wrong_secret_key' : 'credential_unreadable';
    assert.throws(() => sealer.open(changed, place), { code }, `byte ${at}`);
    assert.throws(() => sealer.open(sealed.subarray(0, at), place), { code: 'credential_unreadable' });
  }
});

test('another key says so, and names both without telling them', () => {
  const sealed = sealer.seal(VALUE, place);
  assert.throws(() => other.open(sealed, place), {
    code: 'wrong_secret_key',
    message: new RegExp(`${sealer.keyId}.*${other.keyId}`),
  });
  assert.match(sealer.keyId, /^[0-9a-f]{16}$/);
  assert.ok(!Buffer.alloc(32, 7).toString('hex').includes(sealer.keyId));
});

test('a fingerprint tells values apart, and is good for one name and one key', () => {
  const mark = sealer.fingerprint(VALUE, place);
  assert.match(mark, /^[0-9a-f]{8}$/);
  assert.equal(sealer.fingerprint(VALUE, { ...place, version: 4 } as typeof place), mark);
  assert.notEqual(sealer.fingerprint(`${VALUE}!`, place), mark);
  assert.notEqual(sealer.fingerprint(VALUE, { tenant: 'b', name: 'github' }), mark);
  assert.notEqual(sealer.fingerprint(VALUE, { tenant: 'a', name: 'gitlab' }), mark);
  assert.notEqual(other.fingerprint(VALUE, place), mark);
});
