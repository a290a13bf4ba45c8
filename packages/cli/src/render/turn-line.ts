/** A turn of a timeline, as its events add up to it. */
import { harmless, oneLine } from '../terminal.ts';
import { durationText, usageText } from './amounts.ts';
import { type Fields, fields } from './fields.ts';
import { toolsUsed } from './tools-used.ts';

export type TimelineTurn = {
  readonly seq: number;
  readonly time: string;
  readonly text: string;
  events: number;
  readonly tools: Map<string, number>;
  asked: number;
  denied: number;
};

const MAX_TOOLS = 6;
const MAX_TOOL_CHARS = 30;
/** Names come from the executor: nothing grows with how many it makes up. */
const MAX_KNOWN_TOOLS = 1000;

export function newTurn(seq: number, time: string, content: unknown): TimelineTurn {
  const text =
    typeof content === 'string'
      ? harmless(content)
      : `(${Array.isArray(content) ? content.length : 0} content blocks)`;
  return { seq, time, text, events: 0, tools: new Map(), asked: 0, denied: 0 };
}

export function addMessage(turn: TimelineTurn, message: unknown): void {
  turn.events++;
  for (const name of toolsUsed(message)) {
    const known = turn.tools.get(name);
    if (known !== undefined || turn.tools.size < MAX_KNOWN_TOOLS) turn.tools.set(name, (known ?? 0) + 1);
  }
}

export function addApproval(turn: TimelineTurn, { status, decision }: Fields): void {
  if (status === 'requested') turn.asked++;
  if (decision === 'deny') turn.denied++;
}

/** What it did and used; '' when there is nothing to say. */
export function aboutTurn({ tools, asked, denied }: TimelineTurn, usage: unknown): string {
  const used = [...tools].sort(([, a], [, b]) => b - a);
  const names = used.slice(0, MAX_TOOLS).map(([name, times]) => {
    const shown = oneLine(name, MAX_TOOL_CHARS);
    return times === 1 ? shown : `${shown} ×${times}`;
  });
  const more = used.length > MAX_TOOLS ? `, ${used.length - MAX_TOOLS} other tools` : '';
  const approvals = asked === 1 ? '1 approval' : `${asked} approvals`;
  return [
    `${names.join(', ')}${more}`,
    asked === 0 ? '' : `${approvals}${denied === 0 ? '' : `, ${denied} denied`}`,
    usageText(fields(usage)),
  ]
    .filter((part) => part !== '')
    .join(' · ');
}

export function tookText(ms: number): string {
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : durationText(ms / 1000);
}
