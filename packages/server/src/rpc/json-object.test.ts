import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { isJsonObject } from './json-object.ts';

const said = (text: string) => isJsonObject(Buffer.from(text));

/** What `JSON.parse` takes, where it is an object of a sane depth. */
function parsed(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

test('says yes to what JSON.parse takes as an object, and to nothing else', () => {
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => said(JSON.stringify(value))));
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => said(JSON.stringify(value, null, 2))),
  );
});

test('agrees with JSON.parse on objects with a fault', () => {
  const broken = fc.tuple(
    fc.dictionary(fc.string({ maxLength: 4 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 }),
    fc.nat(),
    fc.nat({ max: 3 }),
    fc.constantFrom(
      '',
      '{',
      '}',
      '[',
      ']',
      '"',
      ',',
      ':',
      '\\',
      'e',
      '-',
      '.',
      '0',
      't',
      '\u0001',
      ' ',
      '\\u12',
    ),
  );
  fc.assert(
    fc.property(broken, ([value, where, cut, put]) => {
      const whole = JSON.stringify(value);
      const at = where % (whole.length + 1);
      const text = whole.slice(0, at) + put + whole.slice(at + cut);
      // Half of a surrogate pair would not come through UTF-8.
      if (!text.isWellFormed()) return;
      assert.equal(said(text), parsed(text), text);
    }),
    { numRuns: 5000 },
  );
});

test('is not talked into closing the object around it', () => {
  for (const text of [
    '{},"seq":9,"x":{}',
    '{}}',
    '{}{}',
    '{"a":1}}},{"b":{{1}',
    '',
    '{',
    '[]',
    '"{}"',
    '{"a":01}',
  ])
    assert.equal(said(text), false, text);
});

test('gives up on what is nested without end', () => {
  const deep = (levels: number) => `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`;
  assert.equal(said(deep(99)), true);
  assert.equal(said(deep(100)), false);
  assert.equal(said(deep(1_000_000)), false);
});
