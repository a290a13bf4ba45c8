/**
 * A session as a line from top to bottom: its turns with what each did, its snapshots, its changes of status, where it
 * was forked from and where its forks leave it. Made event by event, so that a long log needs no memory for it.
 */
import type { Session } from '@atoll/protocol/schemas/session';
import { oneLine, type Style } from '../terminal.ts';
import { bytesText } from './amounts.ts';
import { type Fields, fields } from './fields.ts';
import { because } from './stream.ts';
import { aboutTurn, addApproval, addMessage, newTurn, type TimelineTurn, tookText } from './turn-line.ts';

export type TimelineEvent = { seq: number; time: string; event: string; data: unknown };

export type Timeline = {
  /** The lines that are sure now that this event is known. */
  push(event: TimelineEvent): string[];
  /** Those of what is not over yet. */
  end(): string[];
};

type Fork = Pick<Session, 'id' | 'parent' | 'status'>;
type Marks = '●' | '│' | '◆' | '○' | '!' | '├─' | '╰─';

/** What is left to a turn's text in any case. */
const MIN_TEXT = 10;
/** A terminal that is narrower has better uses for the year. */
const YEAR_COLUMNS = 100;
const SHOWN_STATUSES = ['starting', 'resuming', 'paused', 'ended', 'failed'];

export function createTimeline(options: {
  style: Style;
  columns: number;
  forks: readonly Fork[];
  /** The complete ones, by the event after which the files were so. */
  snapshots: ReadonlyMap<number, { files: number; storedBytes: number }>;
}): Timeline {
  const { style, columns, snapshots } = options;
  const forks = options.forks.toSorted((a, b) => forkSeq(a) - forkSeq(b));
  const turns = new Map<string, TimelineTurn>();
  const firstOfTime = columns < YEAR_COLUMNS ? 5 : 0;
  const place = (seq: number, time: string) =>
    `${String(seq).padStart(7)}  ${clock(time).slice(firstOfTime)}`;
  const indent = place(0, new Date(0).toISOString()).length;
  /** Beside the mark and what stands around it. */
  const room = Math.max(MIN_TEXT, columns - indent - 5);
  let current: TimelineTurn | undefined;

  const paint: Record<Marks, (text: string) => string> = {
    '●': style.green,
    '│': style.green,
    '◆': style.yellow,
    '○': style.dim,
    '!': style.red,
    '├─': style.cyan,
    '╰─': style.cyan,
  };
  const placed = (where: string, mark: Marks, text: string) =>
    `${style.dim(where.padEnd(indent))}  ${paint[mark](mark)} ${text}`;
  const line = (seq: number, time: string, mark: Marks, text: string) =>
    placed(place(seq, time), mark, oneLine(text, room));

  function turnLines(turn: TimelineTurn, ending: string, usage?: unknown): string[] {
    const { seq, time, text, events } = turn;
    const facts = oneLine(`${events} ${events === 1 ? 'event' : 'events'}, ${ending}`, room - MIN_TEXT - 2);
    const said = oneLine(text, Math.max(MIN_TEXT, room - facts.length - 2));
    const about = aboutTurn(turn, usage);
    return [
      placed(place(seq, time), '●', `${said}  ${style.dim(facts)}`),
      ...(about === '' ? [] : [placed('', '│', style.dim(oneLine(about, room)))]),
    ];
  }

  function forksAt(seq: number, time: string): string[] {
    const lines: string[] = [];
    while (forks[0] !== undefined && forkSeq(forks[0]) <= seq) {
      const fork = forks.shift();
      if (fork) lines.push(line(forkSeq(fork), time, '├─', `forked as ${fork.id} (${fork.status})`));
    }
    return lines;
  }

  function snapshotAt(seq: number, time: string): string[] {
    const kept = snapshots.get(seq);
    if (kept === undefined) return [];
    const files = kept.files === 1 ? '1 file' : `${kept.files} files`;
    const more = kept.storedBytes === 0 ? '' : `, ${bytesText(kept.storedBytes)} new`;
    return [line(seq, time, '◆', `snapshot ${files}${more}`)];
  }

  function linesOf({ seq, time, event, data }: TimelineEvent): string[] {
    if (event === 'message') {
      if (current) addMessage(current, data);
      return [];
    }
    const all = fields(data);
    if (event === 'input') {
      const turn = newTurn(seq, time, all.content);
      turns.set(String(all.turnId), turn);
      current ??= turn;
    } else if (event === 'approval' && current) addApproval(current, all);
    else if (event === 'done') return doneLines(seq, time, all);
    else if (event === 'status') return statusLines(seq, time, all);
    else if (event === 'error') return [line(seq, time, '!', String(all.detail))];
    else if (event === 'compacted')
      return [line(seq, time, '○', `events ${all.from} to ${all.to} were compacted`)];
    return [];
  }

  function doneLines(seq: number, time: string, done: Fields): string[] {
    const id = String(done.turnId);
    const turn = turns.get(id) ?? newTurn(seq, time, '(it began earlier)');
    turns.delete(id);
    current = turns.values().next().value;
    const took = tookText(Math.max(0, Date.parse(time) - Date.parse(turn.time)));
    const ending = done.status === 'completed' ? took : `${took}, ${done.status}${because(causeOf(done))}`;
    return turnLines(turn, ending, done.usage);
  }

  function statusLines(seq: number, time: string, all: Fields): string[] {
    const begun = turns.get(String(all.turnId));
    if (begun !== undefined) current = begun;
    if (all.fork !== undefined) return [line(seq, time, '╰─', originOf(fields(all.fork)))];
    if (!SHOWN_STATUSES.includes(String(all.status))) return [];
    return [line(seq, time, '○', `${all.status}${because(causeOf(all))}`)];
  }

  return {
    push(event) {
      const { seq, time } = event;
      return [...linesOf(event), ...snapshotAt(seq, time), ...forksAt(seq, time)];
    },
    end: () =>
      [...turns.values()].flatMap((turn) => turnLines(turn, turn === current ? 'running' : 'waiting')),
  };
}

function causeOf({ cause, detail }: Fields): { cause: string | undefined; detail: string | undefined } {
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return { cause: text(cause), detail: text(detail) };
}

function originOf({ sessionId, seq, snapshotSeq }: Fields): string {
  const files = typeof snapshotSeq === 'number' ? `the files of event ${snapshotSeq}` : 'the agent’s folder';
  return `forked from ${sessionId} after event ${seq}, with ${files}`;
}

function forkSeq({ parent }: Fork): number {
  return parent?.seq ?? 0;
}

/** In UTC, as every time of the API. */
function clock(time: string): string {
  return time.slice(0, 19).replace('T', ' ');
}
