/**
 * A session as a line from top to bottom: its turns with how many events each has, its changes of status, its forks where
 * they leave it. Made event by event, so that a long log needs no memory for it.
 */
import type { Session } from '@atoll/protocol/schemas/session';
import { harmless, oneLine, type Style } from '../terminal.ts';
import { because } from './stream.ts';

export type TimelineEvent = { seq: number; time: string; event: string; data: unknown };

export type Timeline = {
  /** The lines that are sure now that this event is known. */
  push(event: TimelineEvent): string[];
  /** Those of what is not over yet. */
  end(): string[];
};

type Turn = { seq: number; time: string; text: string; events: number };
type Fork = Pick<Session, 'id' | 'parent' | 'status'>;

/** What seq and time take of a line, and what is left to a turn's text in any case. */
const PLACE = 30;
const MIN_TEXT = 20;

export function createTimeline(options: {
  style: Style;
  columns: number;
  forks: readonly Fork[];
  /** Whether the files were kept as they were after that event. */
  isSnapshot: (seq: number) => boolean;
}): Timeline {
  const { style, columns, isSnapshot } = options;
  const forks = options.forks.toSorted((a, b) => forkSeq(a) - forkSeq(b));
  const turns = new Map<string, Turn>();
  let current: Turn | undefined;

  const line = (seq: number | undefined, time: string, mark: string, text: string) =>
    `${style.dim(`${String(seq ?? '').padStart(7)}  ${clock(time)}`)}  ${mark} ${text}`;

  function turnLine(turn: Turn, ending: string): string {
    const { seq, time, text, events } = turn;
    const facts = `${events} ${events === 1 ? 'event' : 'events'}, ${ending}`;
    const room = Math.max(MIN_TEXT, columns - PLACE - 4 - facts.length);
    return line(seq, time, style.green('●'), `${oneLine(text, room)}  ${style.dim(facts)}`);
  }

  function forksAt(seq: number, time: string): string[] {
    const lines: string[] = [];
    while (forks[0] !== undefined && forkSeq(forks[0]) <= seq) {
      const fork = forks.shift();
      if (fork)
        lines.push(line(forkSeq(fork), time, style.cyan('├─'), `forked as ${fork.id} (${fork.status})`));
    }
    return lines;
  }

  function linesOf({ seq, time, event, data }: TimelineEvent): string[] {
    const fields = fieldsOf(data);
    if (event === 'input') {
      const turn = { seq, time, text: contentText(fields.content), events: 0 };
      turns.set(String(fields.turnId), turn);
      current ??= turn;
      return [];
    }
    if (event === 'done') return doneLines(seq, time, fields);
    if (event === 'status') return statusLines(seq, time, fields);
    if (event === 'error')
      return [line(seq, time, style.red('!'), oneLine(String(fields.detail), columns - PLACE - 2))];
    return [];
  }

  function doneLines(seq: number, time: string, fields: Fields): string[] {
    const id = String(fields.turnId);
    const turn = turns.get(id) ?? { seq, time, text: '(it began earlier)', events: 0 };
    turns.delete(id);
    current = turns.values().next().value;
    const took = Math.max(0, Date.parse(time) - Date.parse(turn.time));
    const ending = fields.status === 'completed' ? seconds(took) : `${fields.status}${because(fields)}`;
    const snapshot = isSnapshot(seq) ? [line(seq, time, style.yellow('◆'), 'snapshot')] : [];
    return [turnLine(turn, ending), ...snapshot];
  }

  function statusLines(seq: number, time: string, fields: Fields): string[] {
    const begun = turns.get(String(fields.turnId));
    if (begun !== undefined) current = begun;
    const shown = ['starting', 'paused', 'ended', 'failed'];
    if (!shown.includes(String(fields.status))) return [];
    const snapshot = isSnapshot(seq) ? [line(seq, time, style.yellow('◆'), 'snapshot')] : [];
    return [...snapshot, line(seq, time, style.dim('○'), `${fields.status}${because(fields)}`)];
  }

  return {
    push(event) {
      if (current !== undefined && event.event === 'message') current.events++;
      return [...linesOf(event), ...forksAt(event.seq, event.time)];
    },
    end: () => [...turns.values()].map((turn) => turnLine(turn, turn === current ? 'running' : 'waiting')),
  };
}

type Fields = Record<string, unknown> & { cause?: string | null; detail?: string | null };

function fieldsOf(data: unknown): Fields {
  return typeof data === 'object' && data !== null ? (data as Fields) : {};
}

function forkSeq({ parent }: Fork): number {
  return parent?.seq ?? 0;
}

function contentText(content: unknown): string {
  if (typeof content === 'string') return harmless(content);
  return `(${Array.isArray(content) ? content.length : 0} content blocks)`;
}

/** In UTC, as every time of the API. */
function clock(time: string): string {
  return time.slice(0, 19).replace('T', ' ');
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
