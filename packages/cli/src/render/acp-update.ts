/** A `session/update` of an ACP agent as a person reads it: what it says as it comes, its tools a line each. */
import { harmless, oneLine, type Style } from '../terminal.ts';
import { asText, contentText, type Fields, fields } from './fields.ts';

/** `text` goes on where the last one ended; `lines` stand for themselves. */
export type AcpShown = { text: string } | { lines: string[] };

const MAX_CHARS = 100;
const NOTHING: AcpShown = { lines: [] };

export function showAcpUpdate(update: Fields, style: Style): AcpShown {
  const kind = asText(update.sessionUpdate);
  if (kind === 'agent_message_chunk') return { text: harmless(asText(fields(update.content).text)) };
  if (kind === 'tool_call') return { lines: [`${style.cyan('●')} ${style.bold(callOf(update))}`] };
  if (kind === 'tool_call_update') return { lines: resultOf(update, style) };
  return NOTHING;
}

function callOf({ name, title, kind }: Fields): string {
  return oneLine(asText(title) || asText(name) || asText(kind) || 'tool', MAX_CHARS);
}

/** Once, when the call is over; how it goes meanwhile is nobody's to read. */
function resultOf({ status, content }: Fields, style: Style): string[] {
  if (status !== 'completed' && status !== 'failed') return [];
  const parts = Array.isArray(content) ? content.map((part) => fields(part).content) : [];
  const all = contentText(parts).trim().split('\n');
  const more = all.length > 1 ? ` (+${all.length - 1} lines)` : '';
  const line = `  ⎿ ${oneLine(all[0] || asText(status), MAX_CHARS)}${more}`;
  return [status === 'failed' ? style.red(line) : style.dim(line)];
}
