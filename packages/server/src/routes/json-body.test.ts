import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseJsonBody } from './json-body.ts';

const parse = (text: string) => parseJsonBody(Buffer.from(text));

test('ordinary JSON is what JSON.parse makes of it', () => {
  fc.assert(fc.property(fc.json({ maxDepth: 8 }), (text) => assert.deepEqual(parse(text), JSON.parse(text))));
  assert.deepEqual(parse('{"a":"\\\\\\"[[[","b":"\\\\"}'), { a: '\\"[[[', b: '\\' });
  assert.equal(parseJsonBody(Buffer.alloc(0)), undefined);
});

test('brackets in strings do not count', () => {
  const text = JSON.stringify({ a: '['.repeat(2_000_000), b: '"\\'.repeat(1000) });
  assert.deepEqual(parse(text), JSON.parse(text));
});

test('bombs are refused before they are parsed', () => {
  const refused = { code: 'invalid_json' };
  assert.throws(() => parse('['.repeat(10_000_000)), refused);
  assert.throws(() => parse(`{"a":${'{"a":'.repeat(200)}1${'}'.repeat(200)}}`), refused);
  assert.throws(() => parse(`[${'[],'.repeat(1_000_000)}0]`), refused);
  assert.throws(() => parse('{"a":"never ends'), refused);
  assert.throws(() => parseJsonBody(Buffer.from([0x22, 0xff, 0x22])), refused);
});

test('what is wrong is said without a word of the body', () => {
  const value = '"value":"mark-4f1b0c"';
  const broken = [
    `{${value}`,
    `{${value},}`,
    `{${value}}}`,
    `{${value} mark}`,
    `{"value":mark-4f1b0c}`,
    'mark',
  ];
  for (const text of broken)
    assert.throws(
      () => parse(text),
      ({ code, message }: { code: string; message: string }) =>
        code === 'invalid_json' && message !== '' && !message.includes('ark'),
    );
});
