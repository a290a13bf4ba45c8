import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createScrubber } from './scrubber.ts';

function scrub(secrets: readonly string[], chunks: readonly Buffer[]): string {
  const { pass, rest } = createScrubber(secrets);
  return Buffer.concat([...chunks.map(pass), rest()]).toString('latin1');
}

function cut(text: string, cuts: readonly number[]): Buffer[] {
  const bytes = Buffer.from(text, 'latin1');
  const places = [
    0,
    ...[...new Set(cuts.map((at) => at % (bytes.length + 1)))].sort((a, b) => a - b),
    bytes.length,
  ];
  return places
    .slice(1)
    .map((end, i) => bytes.subarray(places[i], end))
    .filter((part) => part.length > 0);
}

test('a secret is taken out wherever it is cut', () => {
  const secret = 'sk-aab-aab-secret';
  const pieces = fc.array(
    fc.constantFrom(secret, 'sk-aab-', 'sk-', 'plain ', '\xff\x00', secret.slice(0, -1)),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(pieces, fc.array(fc.nat(500)), (parts, cuts) => {
      const text = parts.join('');
      const clean = scrub([secret], cut(text, cuts));
      assert.ok(!clean.includes(secret));
      assert.equal(clean, text.replaceAll(secret, '[removed by Atoll]'));
    }),
  );
});

test('what cannot be part of the secret goes on at once', () => {
  const { pass, rest } = createScrubber(['secret']);
  assert.equal(pass(Buffer.from('data: hello\n\nse')).toString(), 'data: hello\n\n');
  assert.equal(rest().toString(), 'se');
});

test('headers are cleaned too', () => {
  const { headers } = createScrubber(['k1']);
  assert.deepEqual(headers({ 'x-echo': 'my k1!', 'set-cookie': ['a=k1', 'b'] }), {
    'x-echo': 'my [removed by Atoll]!',
    'set-cookie': ['a=[removed by Atoll]', 'b'],
  });
});

test('a header whose name holds a secret is left out, whatever its letters are', () => {
  const { headers } = createScrubber(['Token-0AF3']);
  assert.deepEqual(headers({ 'x-token-0af3': '1', 'x-token': '2' }), { 'x-token': '2' });
});

test('a secret is known as URLs and JSON with escaped slashes write it, and base64 without its end', () => {
  const secret = 'bWU6/cGE+c3M==';
  const said = 'a=bWU6%2FcGE%2Bc3M%3D%3D b=bWU6%2fcGE%2bc3M%3d%3d c="bWU6\\/cGE+c3M==" d=bWU6/cGE+c3M e';
  for (let at = 1; at < said.length; at++) {
    const clean = scrub([secret], cut(said, [at])).replaceAll('[removed by Atoll]', '#');
    assert.equal(clean, 'a=# b=# c="#" d=# e', `cut at ${at}`);
  }
  const { location } = createScrubber([secret]).headers({
    location: `/login?with=${encodeURIComponent(secret)}`,
  });
  assert.equal(location, '/login?with=[removed by Atoll]');
});

test('of several secrets all are taken out, wherever they are cut, and as JSON writes them', () => {
  const secrets = ['pa"ss', 'bWU6cGEic3M=', 'pa'];
  const text = 'pa"ss pa\\"ss bWU6cGEic3M= pa sspa';
  for (let at = 1; at < text.length; at++) {
    const clean = scrub(secrets, cut(text, [at]));
    assert.equal(clean.replaceAll('[removed by Atoll]', '#'), '# # # # ss#', `cut at ${at}`);
  }
});

test('a secret is no pattern', () => {
  const secret = String.raw`a.*[b]\d+(c)|$^{2}?`;
  assert.equal(scrub([secret], [Buffer.from(`a.. ${secret} abc`)]), 'a.. [removed by Atoll] abc');
});
