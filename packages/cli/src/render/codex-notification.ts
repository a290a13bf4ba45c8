/** A notification of Codex as a person reads it: what it says, its tools a line each, and what went wrong. */
import { harmless, oneLine, type Style } from '../terminal.ts';
import { asText, type Fields, fields } from './fields.ts';

/** `piece`: of a text that is told whole later. */
export type CodexShown = { piece: string } | { said: string } | { lines: string[] };

const MAX_CHARS = 100;
const NOTHING: CodexShown = { lines: [] };

export function showCodexNotification(method: string, params: Fields, style: Style): CodexShown {
  const item = fields(params.item);
  if (method === 'item/agentMessage/delta') return { piece: harmless(asText(params.delta)) };
  if (method === 'item/started') return { lines: callOf(item, style) };
  if (method === 'item/completed' && item.type === 'agentMessage')
    return { said: harmless(asText(item.text)) };
  if (method === 'item/completed') return { lines: resultOf(item, style) };
  if (method !== 'error') return NOTHING;
  return { lines: [style.red(oneLine(asText(fields(params.error).message) || 'error', 2 * MAX_CHARS))] };
}

function callOf(item: Fields, style: Style): string[] {
  const [name, about] = codexTool(item);
  if (name === '') return [];
  return [`${style.cyan('●')} ${style.bold(name)}${about === '' ? '' : ` ${oneLine(about, MAX_CHARS)}`}`];
}

/** Tools have the names under which they are asked about; '' for what is none. */
export function codexTool({ type, command, changes, server, tool }: Fields): [name: string, about: string] {
  if (type === 'commandExecution') return ['shell', asText(command)];
  if (type === 'mcpToolCall') return [oneLine(`mcp__${asText(server)}__${asText(tool)}`, MAX_CHARS), ''];
  if (type !== 'fileChange') return ['', ''];
  const paths = Array.isArray(changes) ? changes.map((change) => asText(fields(change).path)) : [];
  return ['apply_patch', paths.join(' ')];
}

function resultOf(item: Fields, style: Style): string[] {
  if (codexTool(item)[0] === '') return [];
  const all = asText(item.aggregatedOutput).trim().split('\n');
  const more = all.length > 1 ? ` (+${all.length - 1} lines)` : '';
  const line = `  ⎿ ${oneLine(all[0] || asText(item.status), MAX_CHARS)}${more}`;
  return [item.status === 'completed' ? style.dim(line) : style.red(line)];
}
