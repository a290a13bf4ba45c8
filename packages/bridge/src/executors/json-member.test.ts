import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { memberText } from './json-member.ts';

test('the text of a member is what stands there', () => {
  const cases: [json: string, text: string | undefined][] = [
    ['{"jsonrpc":"2.0","method":"m","params":{"a":1}}', '{"a":1}'],
    ['{ "params" : { "a" : [ 1 , {"params":2} ] } , "method":"m"}', '{ "a" : [ 1 , {"params":2} ] }'],
    ['{"a":{"params":1},"b":["params",2],"params":"x"}', '"x"'],
    ['{"params":{"t":"}\\"],\\\\"}}', '{"t":"}\\"],\\\\"}'],
    ['{"\\u0070arams":{"a":1}}', '{"a":1}'],
    ['{"params":1,"params":{"b":2}}', '{"b":2}'],
    ['{"params":1e3}', '1e3'],
    ['{"param":1}', undefined],
    ['{}', undefined],
  ];
  for (const [json, text] of cases) assert.equal(memberText(json, 'params'), text, json);
});

test('whatever an object holds, each of its members is found', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.boolean(), (object, spaced) => {
      const json = JSON.stringify(object, null, spaced ? 1 : 0);
      const read: Record<string, unknown> = JSON.parse(json);
      for (const [name, value] of Object.entries(read))
        assert.deepEqual(JSON.parse(memberText(json, name) ?? 'null'), value);
    }),
  );
});
