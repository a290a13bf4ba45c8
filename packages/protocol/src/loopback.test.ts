import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSafeUrl } from './loopback.ts';

test('a secret goes over TLS, or stays on this machine', () => {
  for (const safe of ['https://a.example', 'http://localhost:1/x', 'http://127.0.0.9', 'http://[::1]:4100'])
    assert.ok(isSafeUrl(safe), safe);
  for (const open of ['http://a.example', 'http://127.0.0.1.example', 'ftp://localhost', 'localhost', ''])
    assert.ok(!isSafeUrl(open), open);
});
