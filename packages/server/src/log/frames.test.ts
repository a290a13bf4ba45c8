import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventsNamed, eventsOf, frameEvent, frameMessages, framesAfter, framesUpTo } from './frames.ts';
import { messagesOf } from './log.contract.ts';

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

test('messages become frames, numbered on across a change of digits', () => {
  const frames = frameMessages(9, messagesOf(['{"a":1}', '{"b":"é€😀"}']));
  const expected =
    'id: 9\nevent: message\ndata: {"a":1}\n\n' + 'id: 10\nevent: message\ndata: {"b":"é€😀"}\n\n';
  assert.equal(text(frames), expected);
});

test('no messages make no frames', () => {
  assert.equal(frameMessages(1, messagesOf([])).length, 0);
});

test('the bytes of data come out as they went in, valid UTF-8 or not (I3)', () => {
  const line = Buffer.from([...Array(256).keys()].filter((byte) => byte !== 0x0a));
  const events = [...eventsOf({ frames: frameMessages(41, messagesOf([line, 'data: id: 7', ''])) })];
  assert.deepEqual(
    events.map((event) => [event.seq, event.event]),
    [
      [41, 'message'],
      [42, 'message'],
      [43, 'message'],
    ],
  );
  assert.ok(line.equals(events[0]?.data ?? Buffer.of()));
  assert.equal(text(events[1]?.data ?? Buffer.of()), 'data: id: 7');
  assert.equal(events[2]?.data.length, 0);
});

test('one event', () => {
  assert.equal(text(frameEvent({ seq: 3, event: 'done', data: '{}' })), 'id: 3\nevent: done\ndata: {}\n\n');
  assert.throws(() => frameEvent({ seq: 3, event: 'done', data: '{\n}' }), { code: 'internal' });
  assert.throws(() => frameEvent({ seq: 3, event: 'do\rne', data: '{}' }), { code: 'internal' });
});

test('cutting gives back every event once, wherever the cut is (I2)', () => {
  const frames = Buffer.concat([
    frameMessages(98, messagesOf(['{"n":98}', '{"n":99}'])),
    frameEvent({ seq: 100, event: 'status', data: '{"n":100}' }),
  ]);
  for (let seq = 96; seq <= 102; seq++) {
    const before = framesUpTo({ frames }, seq);
    const after = framesAfter({ frames }, seq);
    assert.ok(Buffer.concat([before, after]).equals(frames));
    assert.ok([...eventsOf({ frames: before })].every((event) => event.seq <= seq));
    assert.ok([...eventsOf({ frames: after })].every((event) => event.seq > seq));
  }
});

test('cutting follows the ids, so a gap left by compaction is no harm', () => {
  const frames = Buffer.concat([
    frameEvent({ seq: 50, event: 'compacted', data: '{"from":1,"to":50}' }),
    frameEvent({ seq: 51, event: 'message', data: '{}' }),
  ]);
  assert.deepEqual(
    [...eventsOf({ frames: framesAfter({ frames }, 50) })].map((event) => event.seq),
    [51],
  );
  assert.deepEqual(
    [...eventsOf({ frames: framesUpTo({ frames }, 50) })].map((event) => event.seq),
    [50],
  );
});

test('bytes that are not frames are refused, not misread', () => {
  assert.throws(() => framesAfter({ frames: Buffer.from('id: 1\nevent: message\ndata: {}') }, 1), {
    code: 'storage_failed',
  });
  assert.throws(() => framesAfter({ frames: Buffer.from('event: message\n\n') }, 1), {
    code: 'storage_failed',
  });
});

test('events of some names, among messages that speak of them', () => {
  const messages = frameMessages(
    9,
    messagesOf(['{"a":"event: done data: x"}', '{"b":"\\nevent: done\\ndata: {}"}']),
  );
  const named = (seq: number, event: string) => frameEvent({ seq, event, data: `{"of":${seq}}` });
  const frames = Buffer.concat([
    named(8, 'done'),
    messages,
    named(11, 'input'),
    named(12, 'done'),
    named(13, 'error'),
  ]);
  const found = [...eventsNamed({ frames }, ['input', 'done'])];
  const all = [...eventsOf({ frames })].filter(({ event }) => event === 'input' || event === 'done');
  assert.deepEqual(found, all);
  assert.deepEqual(
    found.map(({ seq }) => seq),
    [8, 11, 12],
  );
  assert.deepEqual([...eventsNamed({ frames: messages }, ['input', 'done'])], []);
});
