import { eventData, type StreamEvent } from '@atoll/client';
import { harmless, oneLine, type Terminal } from '../terminal.ts';
import { showApproval } from './approval.ts';
import { createMessageRenderer } from './message.ts';

export type StreamPrinter = (event: StreamEvent) => void;

/** Prints a session's events: one JSON line each, or what a person wants to see of them. */
export function createStreamPrinter(terminal: Terminal, options: { showInput: boolean }): StreamPrinter {
  return terminal.json ? (event) => terminal.write(jsonLine(event)) : textPrinter(terminal, options);
}

/** The event's data goes through as it came; only what is not JSON is quoted, so that the line stays readable. */
export function jsonLine({ seq, event, text }: StreamEvent): string {
  const place = seq === undefined ? '' : `"seq":${seq},`;
  const data = isJson(text) ? text.replace(/\s*\n\s*/g, ' ') : JSON.stringify(text);
  return `{${place}"event":${JSON.stringify(event)},"data":${data}}\n`;
}

function textPrinter(terminal: Terminal, { showInput }: { showInput: boolean }): StreamPrinter {
  const { style, line, write } = terminal;
  const messages = createMessageRenderer(style);
  let sessionId = 'SESSION';
  return (event) => {
    if (event.event === 'message') return write(messages.render(parsed(event.text)));
    // Text that comes in pieces has no end of its own; what the log keeps beside it does not break it.
    if (event.event !== 'report') write(messages.closeLine());
    sessionId = eventData(event, 'ready')?.sessionId ?? sessionId;
    const approval = eventData(event, 'approval');
    if (approval !== undefined) return showApproval(terminal, sessionId, approval);
    const input = eventData(event, 'input');
    if (input !== undefined)
      return showInput ? line(`${style.bold('>')} ${inputText(input.content)}`) : undefined;
    const error = eventData(event, 'error');
    if (error !== undefined)
      return line(style.red(`! ${oneLine(error.detail, 300)} (${oneLine(error.code, 60)})`));
    const status = eventData(event, 'status');
    if (status !== undefined) return showStatus(terminal, status);
    const done = eventData(event, 'done');
    if (done !== undefined && done.status !== 'completed')
      line(style.yellow(`■ turn ${done.status}${because(done)}`));
    const lost = eventData(event, 'compacted');
    if (lost !== undefined) line(style.dim(`· events ${lost.from} to ${lost.to} were compacted`));
  };
}

function showStatus(
  { style, line }: Terminal,
  data: { status: string; cause?: string | undefined; detail?: string | undefined },
): void {
  // Starting, running and idle show by what is printed anyway.
  if (['ended', 'failed', 'paused'].includes(data.status))
    line(style.dim(`· session ${data.status}${because(data)}`));
}

export function because({
  cause,
  detail,
}: {
  cause?: string | null | undefined;
  detail?: string | null | undefined;
}): string {
  if (!cause && !detail) return '';
  return `: ${[detail, cause && `(${cause})`]
    .filter(Boolean)
    .map((part) => oneLine(String(part), 300))
    .join(' ')}`;
}

function inputText(content: unknown): string {
  if (typeof content === 'string') return harmless(content);
  const count = Array.isArray(content) ? content.length : 0;
  return `(${count} content blocks)`;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return { type: 'unreadable message' };
  }
}
