import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { createScrubber } from './scrubber.ts';

async function scrub(secrets: readonly string[], chunks: readonly Buffer[]): Promise<string> {
  const { stream } = createScrubber(secrets);
  return Buffer.concat(await Readable.from(chunks).pipe(stream).toArray()).toString('latin1');
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

test('a secret is taken out wherever it is cut', async () => {
  const secret = 'sk-aab-aab-secret';
  const pieces = fc.array(
    fc.constantFrom(secret, 'sk-aab-', 'sk-', 'plain ', '\xff\x00', secret.slice(0, -1)),
    { maxLength: 12 },
  );
  await fc.assert(
    fc.asyncProperty(pieces, fc.array(fc.nat(500)), async (parts, cuts) => {
      const text = parts.join('');
      const clean = await scrub([secret], cut(text, cuts));
      assert.ok(!clean.includes(secret));
      assert.equal(clean, text.replaceAll(secret, '[removed by Atoll]'));
    }),
  );
});

test('what cannot be part of the secret goes on at once', async () => {
  const { stream } = createScrubber(['secret']);
  stream.write('data: hello\n\nse');
  assert.equal(stream.read().toString(), 'data: hello\n\n');
});

test('headers are cleaned too', () => {
  const { headers } = createScrubber(['k1']);
  assert.deepEqual(headers({ 'x-echo': 'my k1!', 'set-cookie': ['a=k1', 'b'] }), {
    'x-echo': 'my [removed by Atoll]!',
    'set-cookie': ['a=[removed by Atoll]', 'b'],
  });
});

test('of several secrets all are taken out, wherever they are cut, and as JSON writes them', async () => {
  const secrets = ['pa"ss', 'bWU6cGEic3M=', 'pa'];
  const text = 'pa"ss pa\\"ss bWU6cGEic3M= pa sspa';
  for (let at = 1; at < text.length; at++) {
    const clean = await scrub(secrets, cut(text, [at]));
    assert.equal(clean.replaceAll('[removed by Atoll]', '#'), '# # # # ss#', `cut at ${at}`);
  }
});

test('a secret is no pattern', async () => {
  const secret = String.raw`a.*[b]\d+(c)|$^{2}?`;
  assert.equal(await scrub([secret], [Buffer.from(`a.. ${secret} abc`)]), 'a.. [removed by Atoll] abc');
});
