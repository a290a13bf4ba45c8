/**
 * Which of the app-server's lines go out as messages, and which are for this process. A notification goes out byte for
 * byte (I3); most of them, and all that come in numbers, are known by how they begin and never parsed.
 */
import { isRecord } from '../params.ts';

export type CodexLine =
  /** A message that nobody here needs to look into. */
  | { kind: 'notification'; method: string }
  | { kind: 'watched'; method: string; params: Record<string, unknown> }
  /** A request of Codex's, or an answer to one of ours. */
  | { kind: 'rpc'; message: Record<string, unknown> }
  | { kind: 'garbage' };

const HEAD = /^\{"method":"([\w/]{1,80})","params":\{/;
const HEAD_BYTES = 120;
const REQUEST = /request/i;

const OPEN = '{'.charCodeAt(0);
const CLOSE = '}'.charCodeAt(0);

/** What decides about turns, approvals and usage. */
const WATCHED = [
  'item/completed',
  'item/started',
  'serverRequest/resolved',
  'thread/tokenUsage/updated',
  'turn/completed',
];

export function readLine(line: Buffer): CodexLine {
  if (line[0] !== OPEN || line.at(-1) !== CLOSE) return { kind: 'garbage' };
  const method = HEAD.exec(line.toString('latin1', 0, HEAD_BYTES))?.[1];
  if (method !== undefined && !WATCHED.includes(method) && !REQUEST.test(method))
    return { kind: 'notification', method };
  const message = parse(line);
  if (!isRecord(message)) return { kind: 'garbage' };
  if (typeof message.method !== 'string' || message.id !== undefined) return { kind: 'rpc', message };
  const params = isRecord(message.params) ? message.params : {};
  return { kind: 'watched', method: message.method, params };
}

/** A piece of what a later message holds in full. */
export function isDelta(method: string): boolean {
  return method.endsWith('elta');
}

function parse(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString());
  } catch {
    // The caller says what that means.
    return undefined;
  }
}
