/**
 * Judges a simulated run by what the design promises. It stands apart on purpose: it knows the trace and nothing of the
 * product, not even its types, so that a mistake there is not made here a second time. Keep it so: import nothing but
 * `trace.ts`, and write a rule from the invariants (ARCHITECTURE.md, "What always holds"), never from the code.
 */
import type { Assignment, Happening, LoggedEvent, Trace } from './trace.ts';

export type Finding = { rule: Rule; at: number; what: string };

export type Rule =
  | 'seqs are dense'
  | 'epochs do not fall'
  | 'durable before visible'
  | 'readers miss nothing'
  | 'messages are whole'
  | 'one epoch acts'
  | 'one turn at a time'
  | 'turns end once'
  | 'ends have causes'
  | 'jobs end'
  | 'messages are taken once'
  | 'work is given once'
  | 'nobody hangs'
  | 'sessions are usable'
  | 'one sandbox';

type Entry<Kind extends Happening['kind']> = Extract<Trace[number], { kind: Kind }>;
type Report = (rule: Rule, at: number, what: string) => void;
type Appended = LoggedEvent & { at: number; index: number; epoch: number };

/** Everything that is wrong with a run that was let come to rest. */
export function audit(trace: Trace): Finding[] {
  const findings: Finding[] = [];
  const report: Report = (rule, at, what) => void findings.push({ rule, at, what });
  const logs = readLogs(trace, report);
  const end = trace.at(-1)?.at ?? 0;
  checkReaders(trace, logs, report);
  checkMessages(trace, logs, report);
  checkEpochs(trace, report);
  checkTurns(logs, end, report);
  checkGiven(trace, logs, report);
  checkSent(trace, logs, end, report);
  checkCauses(trace, logs, report);
  checkJobs(trace, report);
  checkHanging(trace, end, report);
  checkSandboxes(trace, end, report);
  checkProbes(trace, report);
  return findings;
}

function entries<Kind extends Happening['kind']>(trace: Trace, kind: Kind): Entry<Kind>[] {
  return trace.filter((entry): entry is Entry<Kind> => entry.kind === kind);
}

/** Each log as it is on disk; dense (I2), and fenced (I6). */
function readLogs(trace: Trace, report: Report): Map<string, Appended[]> {
  const logs = new Map<string, Appended[]>();
  for (const [index, entry] of trace.entries()) {
    if (entry.kind !== 'appended') continue;
    const { session, epoch, at } = entry;
    const log = logs.get(session) ?? [];
    logs.set(session, log);
    const before = log.at(-1);
    if (before && epoch < before.epoch)
      report('epochs do not fall', at, `${session}: epoch ${epoch} wrote after epoch ${before.epoch}`);
    for (const event of entry.events) {
      const expected = (log.at(-1)?.seq ?? 0) + 1;
      if (event.seq !== expected)
        report('seqs are dense', at, `${session}: seq ${event.seq} where ${expected} had to be`);
      log.push({ ...event, at, index, epoch });
    }
  }
  return logs;
}

/** What readers got, against what was on disk by then (I1), and in which order (I2). */
function checkReaders(trace: Trace, logs: Map<string, Appended[]>, report: Report): void {
  const got = new Map<string, LoggedEvent[]>();
  const began = new Map<string, Entry<'reader_began'>>();
  const ended = new Map<string, Entry<'reader_ended'>>();
  for (const [index, entry] of trace.entries()) {
    if (entry.kind === 'reader_began') began.set(entry.reader, entry);
    if (entry.kind === 'reader_ended') ended.set(entry.reader, entry);
    if (entry.kind !== 'reader_got') continue;
    const { reader, event, at } = entry;
    const session = began.get(reader)?.session ?? '';
    const stored = logs.get(session)?.find(({ seq }) => seq === event.seq);
    if (!stored || stored.index > index)
      report('durable before visible', at, `${reader} got seq ${event.seq}, which was not on disk`);
    else if (stored.event !== event.event || stored.data !== event.data)
      report('durable before visible', at, `${reader} got another seq ${event.seq} than is on disk`);
    got.set(reader, [...(got.get(reader) ?? []), event]);
  }
  for (const [reader, how] of began) {
    const events = got.get(reader) ?? [];
    const log = logs.get(how.session) ?? [];
    const end = ended.get(reader);
    if (how.wants === 'log') checkLogReader(how, events, log, end, report);
    else checkTurnReader(how, events, log, end, report);
  }
}

function checkLogReader(
  { reader, after, at }: Entry<'reader_began'>,
  events: readonly LoggedEvent[],
  log: readonly Appended[],
  end: Entry<'reader_ended'> | undefined,
  report: Report,
): void {
  let last = after;
  for (const { seq } of events) {
    if (seq !== last + 1) report('readers miss nothing', at, `${reader} got seq ${seq} after ${last}`);
    last = seq;
  }
  const all = log.at(-1)?.seq ?? 0;
  const wantedAll = end === undefined || end.how === 'finished';
  if (wantedAll && last < all)
    report('readers miss nothing', at, `${reader} stopped at seq ${last} of ${all}`);
}

/** Its input, and all from its start to its `done`, but for what others sent and how that ended. */
function checkTurnReader(
  { reader, at }: Entry<'reader_began'>,
  events: readonly LoggedEvent[],
  log: readonly Appended[],
  end: Entry<'reader_ended'> | undefined,
  report: Report,
): void {
  const [first] = events;
  const turn = first && first.event === 'input' ? field(first, 'turnId') : undefined;
  if (first && turn === undefined)
    report('readers miss nothing', at, `${reader} began with ${first.event} at seq ${first.seq}`);
  for (const [i, event] of events.entries()) {
    const before = events[i - 1];
    if (!before) continue;
    if (event.seq <= before.seq)
      report('readers miss nothing', at, `${reader} got seq ${event.seq} after ${before.seq}`);
    // Before it starts, a turn waits for whatever is before it.
    const missed = log.filter(({ seq }) => seq > before.seq && seq < event.seq);
    const lost = missed.filter((other) => isOfTurn(other, turn) && !(i === 1 && !isStart(log, other, turn)));
    for (const { seq } of lost) report('readers miss nothing', at, `${reader} did not get seq ${seq}`);
  }
  for (const event of events)
    if (['input', 'done'].includes(event.event) && field(event, 'turnId') !== turn)
      report('readers miss nothing', at, `${reader} got the ${event.event} of another turn`);
  const last = events.at(-1);
  if (end?.how === 'finished' && !(last?.event === 'done' && field(last, 'turnId') === turn))
    report('readers miss nothing', at, `${reader} was told of no end`);
}

/** Whether the stream of a turn has to show it, when it lies between two events that it shows. */
function isOfTurn(event: LoggedEvent, turn: unknown): boolean {
  return !['input', 'done'].includes(event.event) || field(event, 'turnId') === turn;
}

/** Whether it lies after the start of the turn. */
function isStart(log: readonly Appended[], event: LoggedEvent, turn: unknown): boolean {
  const start = log.find((each) => each.event === 'status' && field(each, 'turnId') === turn);
  return start !== undefined && event.seq >= start.seq;
}

/** What executors said is in the log as they said it, once, in order, up to some message; all of it where they finished. */
function checkMessages(trace: Trace, logs: Map<string, Appended[]>, report: Report): void {
  const said = new Map<string, { entry: Entry<'said'>; index: number }>();
  for (const [index, entry] of trace.entries())
    if (entry.kind === 'said') said.set(entry.data, { entry, index });
  /** How many messages of a turn, by the sandbox that said them, are in a log. */
  const logged = new Map<string, number>();
  for (const [session, log] of logs)
    for (const event of log) {
      if (event.event !== 'message') continue;
      const known = said.get(event.data);
      if (!known || known.index > event.index || known.entry.of.session !== session) {
        report('messages are whole', event.at, `${session}: nobody said what is seq ${event.seq}`);
        continue;
      }
      const { of, turn, n } = known.entry;
      const key = keyOf(of, turn);
      const expected = (logged.get(key) ?? 0) + 1;
      if (n !== expected)
        report('messages are whole', event.at, `${key}: message ${n} at seq ${event.seq}, not ${expected}`);
      if (of.epoch !== event.epoch)
        report('epochs do not fall', event.at, `${key}: epoch ${of.epoch} is written as ${event.epoch}`);
      logged.set(key, Math.max(expected, n));
    }
  for (const { of, turn, status, said: count, at } of entries(trace, 'finished')) {
    const done = endOf(logs.get(of.session ?? ''), turn);
    const believed = done && field(done, 'status') === status && field(done, 'cause') !== 'interrupted';
    const whole = status === 'completed' || field(done, 'cause') === status;
    if (!done || !believed || !whole) continue;
    const have = logged.get(keyOf(of, turn)) ?? 0;
    if (have !== count)
      report(
        'messages are whole',
        at,
        `${turn}: ${have} of ${count} messages are in the log of a turn that ended`,
      );
  }
  for (const [session, log] of logs)
    for (const event of log) {
      if (event.event !== 'done' || field(event, 'status') !== 'completed') continue;
      const turn = field(event, 'turnId');
      if (!entries(trace, 'finished').some((end) => end.turn === turn && end.status === 'completed'))
        report('messages are whole', event.at, `${session}: ${turn} completed, and no executor says so`);
    }
}

/** What reaches the world outside comes from the latest assignment that was at work, and within its lease (I6). */
function checkEpochs(trace: Trace, report: Report): void {
  const latest = new Map<string, number>();
  const expired = new Set<string>();
  const leases = new Map<string, number>();
  for (const entry of trace) {
    if (entry.kind === 'leased') leases.set(entry.node, entry.until);
    if (entry.kind === 'expired') expired.add(entry.node);
    if (entry.kind === 'renewed' || (entry.kind === 'up' && expired.has(entry.node)))
      expired.delete(entry.node);
    if (entry.kind !== 'given' && entry.kind !== 'acted') continue;
    const { session, epoch, runner, sandbox } = entry.of;
    const leasedUntil = leases.get(runner) ?? Number.POSITIVE_INFINITY;
    if (entry.kind === 'acted' && (expired.has(runner) || entry.at > leasedUntil))
      report('one epoch acts', entry.at, `${sandbox} acted when the lease of ${runner} was over`);
    if (session === null) continue;
    const newest = latest.get(session) ?? 0;
    // What reaches an executor while its lease is over, it does nothing with.
    if (epoch < newest && !expired.has(runner))
      report(
        'one epoch acts',
        entry.at,
        `${session}: epoch ${epoch} (${entry.kind}) after epoch ${newest} was at work`,
      );
    latest.set(session, Math.max(newest, epoch));
  }
}

/** In a log, one turn runs at a time (I4), and each that came in ends once. */
function checkTurns(logs: Map<string, Appended[]>, end: number, report: Report): void {
  for (const [session, log] of logs) {
    const open = new Set<unknown>();
    const over = new Set<unknown>();
    let running: unknown;
    for (const event of log) {
      const turn = field(event, 'turnId');
      if (event.event === 'input') {
        if (open.has(turn) || over.has(turn)) report('turns end once', event.at, `${turn} came in twice`);
        open.add(turn);
      }
      if (event.event === 'status' && turn !== undefined) {
        if (running !== undefined)
          report('one turn at a time', event.at, `${session}: ${turn} started while ${running} ran`);
        if (!open.has(turn)) report('turns end once', event.at, `${turn} started and is not open`);
        running = turn;
      }
      if (event.event === 'message' && running === undefined)
        report('one turn at a time', event.at, `${session}: seq ${event.seq} is of no turn`);
      if (event.event === 'done') {
        if (!open.delete(turn)) report('turns end once', event.at, `${turn} ended and was not open`);
        over.add(turn);
        if (running === turn) running = undefined;
      }
    }
    for (const turn of open) report('turns end once', end, `${session}: ${turn} never ended`);
  }
}

/** A message is an executor's work once, and not before it is on disk (I1). */
function checkGiven(trace: Trace, logs: Map<string, Appended[]>, report: Report): void {
  const given = new Set<string>();
  for (const [index, entry] of trace.entries()) {
    if (entry.kind !== 'given') continue;
    const { turn, of, content, at } = entry;
    if (given.has(turn)) report('work is given once', at, `${turn} was given twice`);
    given.add(turn);
    const input = logs.get(of.session ?? '')?.find((event) => isInputOf(event, turn));
    if (!input || input.index > index)
      report('durable before visible', at, `${turn} was given before its input was on disk`);
    else if (field(input, 'content') !== content)
      report('messages are taken once', at, `${turn} was given with another content`);
  }
}

/** What clients sent is in the log once where they were told so, never where they were told that it is not. */
function checkSent(trace: Trace, logs: Map<string, Appended[]>, end: number, report: Report): void {
  const accepted = new Map(entries(trace, 'accepted').map((entry) => [entry.key, entry]));
  const refused = new Map(entries(trace, 'refused').map((entry) => [entry.key, entry]));
  for (const { session, key, content } of entries(trace, 'sent')) {
    const log = logs.get(session) ?? [];
    const inputs = log.filter((event) => event.event === 'input' && field(event, 'content') === content);
    const told = accepted.get(key);
    if (inputs.length > 1) report('messages are taken once', end, `${key} is ${inputs.length} turns`);
    const [input] = inputs;
    if (told && (!input || field(input, 'turnId') !== told.turn))
      report(
        'messages are taken once',
        told.at,
        `${key} was accepted as ${told.turn}, which is not in the log`,
      );
    if (!told && refused.has(key) && input)
      report('messages are taken once', end, `${key} was refused, and is a turn`);
  }
}

const ENDS = ['failed', 'interrupted', 'ended', 'paused', 'pausing'];

/** I10. */
function checkCauses(trace: Trace, logs: Map<string, Appended[]>, report: Report): void {
  for (const [session, log] of logs)
    for (const event of log) {
      if (event.event !== 'done' && event.event !== 'status') continue;
      const status = String(field(event, 'status'));
      if (ENDS.includes(status) && !(isSaid(field(event, 'cause')) && isSaid(field(event, 'detail'))))
        report(
          'ends have causes',
          event.at,
          `${session}: ${event.event} ${status} at seq ${event.seq} has none`,
        );
    }
  for (const entry of trace) {
    if (!['session_is', 'job_is', 'sandbox_is'].includes(entry.kind)) continue;
    if (!('status' in entry && 'cause' in entry)) continue;
    if (ENDS.includes(entry.status) && !(isSaid(entry.cause) && isSaid(entry.detail)))
      report('ends have causes', entry.at, `${JSON.stringify(entry)} has none`);
  }
}

function checkJobs(trace: Trace, report: Report): void {
  for (const { job, type, status, at } of entries(trace, 'job_is'))
    if (!['completed', 'failed', 'cancelled'].includes(status))
      report('jobs end', at, `${job} (${type}) is ${status}`);
}

/** Whoever asked has an answer, be it that there is none; whoever reads a turn, its end. */
function checkHanging(trace: Trace, end: number, report: Report): void {
  const answered = new Set(entries(trace, 'answered').map(({ call }) => call));
  for (const { call, what, at } of entries(trace, 'asked'))
    if (!answered.has(call)) report('nobody hangs', end, `${call}: ${what}, asked at ${at}, has no answer`);
  const over = new Set(entries(trace, 'reader_ended').map(({ reader }) => reader));
  for (const { reader, wants, at } of entries(trace, 'reader_began'))
    if (wants === 'turn' && !over.has(reader))
      report('nobody hangs', end, `${reader}, who began at ${at}, has not heard the end of its turn`);
}

/** A sandbox runs once, a session has one on a runner, and none is left over at the end. */
function checkSandboxes(trace: Trace, end: number, report: Report): void {
  const running = new Map<string, Assignment>();
  for (const entry of trace) {
    if (entry.kind === 'gone') running.delete(entry.of.sandbox);
    if (entry.kind !== 'began') continue;
    const { of, at } = entry;
    for (const other of running.values()) {
      if (other.sandbox === of.sandbox && other.epoch === of.epoch)
        report('one sandbox', at, `${of.sandbox} began while it ran`);
      else if (of.session !== null && other.session === of.session && other.runner === of.runner)
        report(
          'one sandbox',
          at,
          `${of.sandbox} began beside ${other.sandbox} on the files of ${of.session}`,
        );
    }
    running.set(of.sandbox, of);
  }
  const statuses = new Map(entries(trace, 'session_is').map(({ session, status }) => [session, status]));
  const kept = new Map(entries(trace, 'sandbox_is').map(({ sandbox, status }) => [sandbox, status]));
  for (const { sandbox, session } of running.values()) {
    const status = session === null ? undefined : statuses.get(session);
    const over = status !== undefined && ['ended', 'failed', 'paused'].includes(status);
    const told = kept.get(sandbox);
    if (over || (told !== undefined && ['ended', 'failed'].includes(told)))
      report('one sandbox', end, `${sandbox} of ${session} (${status}) runs still; it is told to be ${told}`);
  }
}

function checkProbes(trace: Trace, report: Report): void {
  const healed = entries(trace, 'healed').at(-1);
  const probed = entries(trace, 'probed');
  for (const { session, over, usable, detail, at } of probed)
    if (usable === over) report('sessions are usable', at, `${session} (over: ${over}): ${detail}`);
  const sessions = new Set(entries(trace, 'sent').map(({ session }) => session));
  for (const session of sessions)
    if (healed && !probed.some((probe) => probe.session === session))
      report('sessions are usable', healed.at, `${session} is not there any more`);
}

function keyOf({ sandbox }: Assignment, turn: string): string {
  return `${turn} in ${sandbox}`;
}

function endOf(log: readonly Appended[] | undefined, turn: string): Appended | undefined {
  return log?.find((event) => event.event === 'done' && field(event, 'turnId') === turn);
}

function isInputOf(event: LoggedEvent, turn: string): boolean {
  return event.event === 'input' && field(event, 'turnId') === turn;
}

function isSaid(text: unknown): boolean {
  return typeof text === 'string' && text !== '';
}

const parsed = new WeakMap<LoggedEvent, Record<string, unknown>>();

function field(event: LoggedEvent | undefined, name: string): unknown {
  if (event === undefined) return undefined;
  let data = parsed.get(event);
  if (data === undefined) {
    const value: unknown = event.event === 'message' ? {} : JSON.parse(event.data);
    data = typeof value === 'object' && value !== null ? { ...value } : {};
    parsed.set(event, data);
  }
  return data[name];
}
