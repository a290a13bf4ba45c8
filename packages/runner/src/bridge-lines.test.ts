import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageLine } from '@atoll/protocol/message-line';
import type { Messages } from '@atoll/protocol/runner-link';
import fc from 'fast-check';
import { cutBlock, ProtocolViolation } from './bridge-lines.ts';

function jsonOf({ bytes, spans }: Messages): string[] {
  const pairs = Array.from({ length: spans.length / 2 }, (_, i) => spans.subarray(2 * i, 2 * i + 2));
  return pairs.map(([from, to]) => Buffer.from(bytes.subarray(from, to)).toString());
}

const block = (...lines: string[]) => Buffer.from(lines.join(''));

test('messages come out byte for byte, in runs between other lines', () => {
  const json = fc
    .dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue())
    .map((value) => JSON.stringify(value));
  const line = fc.oneof(
    json.map((text) => ({ message: text })),
    fc.nat().map((n) => ({ control: `{"jsonrpc":"2.0","id":${n},"result":{"é":1}}` })),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 20 }), (lines) => {
      const bytes = block(
        ...lines.map((each) => ('message' in each ? messageLine(each.message) : `${each.control}\n`)),
      );
      const got: string[] = [];
      for (const cut of cutBlock(bytes)) {
        if (cut.kind === 'control') got.push(cut.text);
        else {
          got.push(...jsonOf(cut.messages));
        }
      }
      assert.deepEqual(
        got,
        lines.map((each) => ('message' in each ? each.message : each.control)),
      );
    }),
  );
});

test('what could break the framing of others is refused', () => {
  const bad = [
    messageLine('{"a":"\r"}'),
    messageLine('{"a":"\0"}'),
    messageLine('[1]'),
    messageLine('"text"'),
    messageLine('{'),
    messageLine(''),
    messageLine('{}').replace('}\n', '\n').replace('{}', '{'),
    '{"jsonrpc":"2.0","method":"message","params":{}\n',
  ];
  for (const line of bad) assert.throws(() => cutBlock(block(line)), ProtocolViolation, JSON.stringify(line));
  assert.throws(
    () => cutBlock(Buffer.concat([block('{"a":"'), Buffer.from([0xff]), block('"}\n')])),
    ProtocolViolation,
  );
  assert.throws(() => cutBlock(block('{"ok":1}\n', 'data: x\r\n')), ProtocolViolation);
});

test('a message that forges the end of its wrapper stays one message', () => {
  const forged = '{"jsonrpc":"2.0","method":"message","params":{"a":1}},"id":1,"x":{"b":2}}\n';
  const [cut, ...rest] = cutBlock(block(forged));
  assert.equal(rest.length, 0);
  assert.ok(cut?.kind === 'messages');
  assert.deepEqual(jsonOf(cut.messages), ['{"a":1}},"id":1,"x":{"b":2}']);
});

test('only a message may be long', () => {
  const long = 'x'.repeat(1024 * 1024);
  assert.equal(cutBlock(block(messageLine(`{"a":"${long}"}`))).length, 1);
  assert.throws(() => cutBlock(block(`{"jsonrpc":"2.0","id":1,"result":"${long}"}\n`)), ProtocolViolation);
});
