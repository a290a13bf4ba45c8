import assert from 'node:assert/strict';
import { test } from 'node:test';
import { audit, type Rule } from './auditor.ts';
import type { Assignment, Happening, LoggedEvent, Trace } from './trace.ts';

const of: Assignment = { runner: 'a', sandbox: 'sbx_1', session: 'ses', epoch: 1 };
const later: Assignment = { runner: 'b', sandbox: 'sbx_2', session: 'ses', epoch: 2 };

const logged = (seq: number, event: string, data: object | string): LoggedEvent => ({
  ...{ seq, event },
  data: typeof data === 'string' ? data : JSON.stringify(data),
});
const appended = (events: LoggedEvent[], epoch = 1): Happening => ({
  ...{ kind: 'appended', session: 'ses', epoch, coordinator: 1 },
  events,
});
const got = (reader: string, event: LoggedEvent): Happening => ({ kind: 'reader_got', reader, event });
const said = (n: number, by = of): Happening => ({ kind: 'said', of: by, turn: 't', n, data: `{"n":${n}}` });

const input = logged(2, 'input', { turnId: 't', content: 'do it' });
const start = logged(3, 'status', { status: 'running', turnId: 't' });
const first = logged(4, 'message', '{"n":1}');
const second = logged(5, 'message', '{"n":2}');
const done = logged(6, 'done', { turnId: 't', status: 'completed' });
const idle = logged(7, 'status', { status: 'idle' });

/** A session with one turn of two messages, read by two, in which nothing is wrong. */
const good = {
  began: { kind: 'began', of },
  created: appended([logged(1, 'status', { status: 'idle' })]),
  log: { kind: 'reader_began', reader: 'log', session: 'ses', wants: 'log', after: 0 },
  gotCreated: got('log', logged(1, 'status', { status: 'idle' })),
  sent: { kind: 'sent', session: 'ses', key: 'k', content: 'do it' },
  asked: { kind: 'asked', call: 'c', what: 'session.show' },
  answered: { kind: 'answered', call: 'c' },
  turn: { kind: 'reader_began', reader: 'turn', session: 'ses', wants: 'turn', after: 0 },
  input: appended([input, start]),
  accepted: { kind: 'accepted', session: 'ses', key: 'k', turn: 't' },
  gotInput: got('log', input),
  gotStart: got('log', start),
  turnInput: got('turn', input),
  turnStart: got('turn', start),
  given: { kind: 'given', of, turn: 't', content: 'do it' },
  said1: said(1),
  acted: { kind: 'acted', of, turn: 't' },
  said2: said(2),
  finished: { kind: 'finished', of, turn: 't', status: 'completed', said: 2 },
  messages: appended([first, second]),
  gotFirst: got('log', first),
  gotSecond: got('log', second),
  turnFirst: got('turn', first),
  turnSecond: got('turn', second),
  done: appended([done, idle]),
  gotDone: got('log', done),
  gotIdle: got('log', idle),
  turnDone: got('turn', done),
  turnOver: { kind: 'reader_ended', reader: 'turn', how: 'finished' },
  healed: { kind: 'healed' },
  probed: { kind: 'probed', session: 'ses', over: false, usable: true, detail: 'completed' },
  session: { kind: 'session_is', session: 'ses', status: 'idle', cause: null, detail: null, lastSeq: 7 },
  job: { kind: 'job_is', job: 'job', type: 'create', status: 'completed', cause: null, detail: null },
  sandbox: { kind: 'sandbox_is', sandbox: 'sbx_1', status: 'ready', cause: null, detail: null },
} as const satisfies Record<string, Happening>;

type Name = keyof typeof good;
/** What stands in the place of an entry: others, or none. */
type Changes = Partial<Record<Name, readonly Happening[]>>;

function traceWith(changes: Changes = {}): Trace {
  const names = Object.keys(good) as Name[];
  const happenings = names.flatMap((name): readonly Happening[] => changes[name] ?? [good[name]]);
  return happenings.map((happening, at) => ({ at, ...happening }));
}

const rulesOf = (changes: Changes) => [...new Set(audit(traceWith(changes)).map(({ rule }) => rule))];

test('nothing is said of a run in which all is well', () => {
  assert.deepEqual(audit(traceWith()), []);
});

const bad: [what: string, rule: Rule, changes: Changes][] = [
  [
    'an event is lost on disk',
    'seqs are dense',
    { messages: [appended([first, logged(6, 'message', '{"n":2}')])] },
  ],
  ['an event is twice on disk', 'seqs are dense', { messages: [appended([first, first, second])] }],
  [
    'a message is lost',
    'messages are whole',
    { messages: [appended([first]), appended([logged(5, 'report', {})])] },
  ],
  [
    'a message is doubled',
    'messages are whole',
    { messages: [appended([first, logged(5, 'message', '{"n":1}')])] },
  ],
  [
    'messages are in another order',
    'messages are whole',
    { messages: [appended([logged(4, 'message', '{"n":2}'), logged(5, 'message', '{"n":1}')])] },
  ],
  ['a message is nobody’s', 'messages are whole', { said2: [] }],
  ['a turn completed that no executor ended', 'messages are whole', { finished: [] }],
  ['a reader misses an event', 'readers miss nothing', { gotFirst: [] }],
  ['a reader misses the end', 'readers miss nothing', { gotIdle: [] }],
  ['a reader gets an event twice', 'readers miss nothing', { gotFirst: [good.gotFirst, good.gotFirst] }],
  [
    'a reader gets events in another order',
    'readers miss nothing',
    { gotFirst: [good.gotSecond, good.gotFirst], gotSecond: [] },
  ],
  ['the stream of a turn misses an event', 'readers miss nothing', { turnSecond: [] }],
  ['the stream of a turn has no end', 'readers miss nothing', { turnDone: [] }],
  [
    'the stream of a turn shows another one',
    'readers miss nothing',
    { turnInput: [got('turn', logged(1, 'input', { turnId: 'u', content: '' })), good.turnInput] },
  ],
  [
    'a reader sees what is not durable',
    'durable before visible',
    { messages: [], gotFirst: [good.gotFirst, good.messages] },
  ],
  [
    'a reader sees another text',
    'durable before visible',
    { gotFirst: [got('log', logged(4, 'message', '{"n":3}'))] },
  ],
  [
    'an executor hears of what is not durable',
    'durable before visible',
    { input: [good.given, good.input], given: [] },
  ],
  [
    'an older epoch writes after a newer one',
    'epochs do not fall',
    { messages: [appended([first], 2), appended([second], 1)] },
  ],
  [
    'a message of an old epoch is written as new',
    'epochs do not fall',
    { messages: [appended([first, second], 2)], done: [appended([done, idle], 2)] },
  ],
  [
    'two epochs act',
    'one epoch acts',
    { said2: [{ kind: 'acted', of: later, turn: 't' }, good.acted, good.said2] },
  ],
  [
    'somebody acts when the lease that was told is over',
    'one epoch acts',
    { began: [{ kind: 'leased', node: 'a', until: 5 }, good.began] },
  ],
  [
    'somebody acts after the end of a lease',
    'one epoch acts',
    { said2: [{ kind: 'expired', node: 'a' }, good.acted, good.said2] },
  ],
  [
    'two turns run',
    'one turn at a time',
    {
      messages: [
        appended([first, second]),
        appended([
          logged(6, 'input', { turnId: 'u', content: '' }),
          logged(7, 'status', { status: 'running', turnId: 'u' }),
        ]),
      ],
    },
  ],
  ['a turn never ends', 'turns end once', { done: [] }],
  ['a turn ends twice', 'turns end once', { done: [appended([done, { ...done, seq: 7 }])] }],
  [
    'a message is two turns',
    'messages are taken once',
    { done: [good.done, appended([logged(8, 'input', { turnId: 'u', content: 'do it' })])] },
  ],
  [
    'a message that was accepted is gone',
    'messages are taken once',
    { accepted: [{ kind: 'accepted', session: 'ses', key: 'k', turn: 'u' }] },
  ],
  [
    'a message that was refused is a turn',
    'messages are taken once',
    { accepted: [{ kind: 'refused', session: 'ses', key: 'k', code: 'queue_full' }] },
  ],
  ['a turn is given twice', 'work is given once', { given: [good.given, good.given] }],
  ['a job never ends', 'jobs end', { job: [{ ...good.job, status: 'running' }] }],
  ['a job fails without a cause', 'ends have causes', { job: [{ ...good.job, status: 'failed' }] }],
  [
    'a turn ends without a cause',
    'ends have causes',
    { done: [appended([logged(6, 'done', { turnId: 't', status: 'failed' }), idle])] },
  ],
  [
    'a session is paused without a cause',
    'ends have causes',
    { done: [appended([done, logged(7, 'status', { status: 'paused' })])] },
  ],
  ['a sandbox ends without a cause', 'ends have causes', { sandbox: [{ ...good.sandbox, status: 'ended' }] }],
  ['a call has no answer', 'nobody hangs', { answered: [] }],
  ['the stream of a turn hangs', 'nobody hangs', { turnOver: [] }],
  [
    'a session cannot be used after healing',
    'sessions are usable',
    { probed: [{ ...good.probed, usable: false }] },
  ],
  ['a session that is over can be used', 'sessions are usable', { probed: [{ ...good.probed, over: true }] }],
  ['a session is gone', 'sessions are usable', { probed: [] }],
  ['a sandbox is made twice', 'one sandbox', { given: [good.began, good.given] }],
  [
    'two sandboxes work on the same files',
    'one sandbox',
    { given: [{ kind: 'began', of: { ...later, runner: 'a' } }, good.given] },
  ],
  [
    'a sandbox is left over',
    'one sandbox',
    { sandbox: [{ ...good.sandbox, status: 'ended', cause: 'ended', detail: 'x' }] },
  ],
];

for (const [what, rule, changes] of bad) {
  test(`it is seen when ${what}`, () => {
    const rules = rulesOf(changes);
    assert.ok(rules.includes(rule), `it said: ${rules.join(', ') || 'nothing'}`);
  });
}
