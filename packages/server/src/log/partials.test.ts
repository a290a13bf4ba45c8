import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ExecutorKind, executorKinds } from '@atoll/protocol/executor-kinds';
import { partialsOf } from './partials.ts';

const partialFor = (text: string) =>
  executorKinds.filter((kind) => partialsOf(kind)?.({ event: 'message', data: Buffer.from(text) }));

const lines: [what: string, line: string, partialFor: ExecutorKind[]][] = [
  ['a piece of Claude', '{"type":"stream_event","event":{}}', ['claude']],
  ['a message of Claude', '{"type":"assistant","message":{}}', []],
  ['a piece of Codex', '{"method":"item/agentMessage/delta","params":{"delta":"a"}}', ['codex']],
  ['its thoughts', '{"method":"item/reasoning/summaryTextDelta","params":{"delta":"a"}}', ['codex']],
  ['what a command puts out', '{"method":"item/commandExecution/outputDelta","params":{"delta":"a"}}', []],
];
for (const [what, line, kinds] of lines) {
  test(`partial is ${what} for: ${kinds.join() || 'none'}`, () => assert.deepEqual(partialFor(line), kinds));
}

test('of an executor that is not known, and of events that are no messages, nothing is partial', () => {
  assert.equal(partialsOf(undefined), undefined);
  const report = { event: 'report', data: Buffer.from('{"type":"stream_event"}') };
  assert.equal(partialsOf('claude')?.(report), false);
});
