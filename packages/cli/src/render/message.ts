/**
 * An executor's message as a person reads it. Its shapes are the executor's own and change with its versions, so
 * nothing here relies on a field: what is not as expected is shown shortly or not at all, never an error.
 */
import { harmless, oneLine, type Style } from '../terminal.ts';
import { showAcpUpdate } from './acp-update.ts';
import { showCodexNotification } from './codex-notification.ts';
import { asText, contentText, type Fields, fields } from './fields.ts';
import { toolSubject } from './tool-subject.ts';

export type MessageRenderer = {
  /** The text to write for one message; '' for those that say nothing to a person. */
  render(message: unknown): string;
  /** What ends a line that is still open, before something else is written. */
  closeLine(): string;
};

const MAX_TOOL_CHARS = 100;
/** The SDK's own bookkeeping, of no interest to who reads along. */
const bookkeeping = new Set(['command_lifecycle', 'rate_limit_event', 'keep_alive', 'tool_progress']);

export function createMessageRenderer(style: Style): MessageRenderer {
  /** Text that was written as it came; the whole message that follows says the same again. */
  let streamed = false;
  /** Whether what was written last ended its line. */
  let lineOpen = false;

  const closeLine = () => {
    const close = lineOpen ? '\n' : '';
    lineOpen = false;
    return close;
  };
  const lines = (all: readonly string[]) => (all.length === 0 ? '' : `${closeLine()}${all.join('\n')}\n`);

  function delta(message: Fields): string {
    const event = fields(message.event);
    const text = asText(fields(event.delta).text);
    if (text === '') return '';
    streamed = true;
    return piece(harmless(text));
  }

  function piece(text: string): string {
    if (text !== '') lineOpen = !text.endsWith('\n');
    return text;
  }

  function acpUpdate(update: Fields): string {
    const shown = showAcpUpdate(update, style);
    return 'text' in shown ? piece(shown.text) : lines(shown.lines);
  }

  function codexNotification(method: string, params: Fields): string {
    const shown = showCodexNotification(method, params, style);
    if ('lines' in shown) return lines(shown.lines);
    if ('piece' in shown) {
      streamed = true;
      return piece(shown.piece);
    }
    const skipText = streamed;
    streamed = false;
    return skipText || shown.said === '' ? closeLine() : lines([shown.said]);
  }

  function assistant(message: Fields): string {
    const skipText = streamed;
    streamed = false;
    return lines(blocks(message).flatMap((block) => assistantBlock(block, style, skipText)));
  }

  return {
    render(message) {
      const all = fields(message);
      const update = fields(all.update);
      if (typeof update.sessionUpdate === 'string') return acpUpdate(update);
      if (typeof all.method === 'string') return codexNotification(all.method, fields(all.params));
      if (all.type === 'stream_event') return delta(all);
      if (all.type === 'assistant') return assistant(all);
      if (all.type === 'user') return lines(blocks(all).flatMap((block) => toolResult(block, style)));
      if (all.type === 'result') return lines([resultLine(all, style)]);
      if (all.type === 'system') return lines(systemLine(all, style));
      return lines(otherLine(all, style));
    },
    closeLine,
  };
}

function assistantBlock(block: Fields, style: Style, skipText: boolean): string[] {
  if (block.type === 'text')
    return skipText || asText(block.text) === '' ? [] : [harmless(asText(block.text))];
  if (block.type === 'tool_use') return [toolUse(block, style)];
  if (block.type === 'thinking') return [style.dim('· thinking')];
  return [];
}

function toolUse(block: Fields, style: Style): string {
  const name = oneLine(asText(block.name) || 'tool', 60);
  const about = oneLine(toolSubject(fields(block.input)), MAX_TOOL_CHARS);
  return `${style.cyan('●')} ${style.bold(name)}${about === '' ? '' : ` ${about}`}`;
}

function toolResult(block: Fields, style: Style): string[] {
  if (block.type !== 'tool_result') return [];
  const text = contentText(block.content).trim();
  const count = text === '' ? 0 : text.split('\n').length;
  const first = oneLine(text.split('\n')[0] ?? '', MAX_TOOL_CHARS);
  const more = count > 1 ? ` (+${count - 1} lines)` : '';
  const line = `  ⎿ ${first}${more}`;
  return first === '' ? [] : [block.is_error === true ? style.red(line) : style.dim(line)];
}

function resultLine(message: Fields, style: Style): string {
  const facts = [
    amount(message.num_turns, (n) => `${n} ${n === 1 ? 'step' : 'steps'}`),
    amount(message.duration_ms, (ms) => `${(ms / 1000).toFixed(1)} s`),
    amount(message.total_cost_usd, (usd) => `$${usd.toFixed(4)}`),
  ].filter((fact) => fact !== '');
  const failed = message.is_error === true;
  const why = failed ? oneLine(asText(message.result) || asText(message.subtype) || 'failed', 200) : 'done';
  const mark = failed ? style.red(`✗ ${why}`) : style.green(`✓ ${why}`);
  return [mark, ...facts.map((fact) => style.dim(fact))].join(style.dim(' · '));
}

function systemLine(message: Fields, style: Style): string[] {
  if (message.subtype !== 'init') return [];
  const tools = Array.isArray(message.tools) ? `, ${message.tools.length} tools` : '';
  return [style.dim(`· ${oneLine(asText(message.model) || 'model', 60)}${tools}`)];
}

/** A program's own messages: their text if they have one, else their type. */
function otherLine(message: Fields, style: Style): string[] {
  const text = asText(message.text) || asText(message.message);
  if (text !== '') return [harmless(text)];
  if (bookkeeping.has(asText(message.type))) return [];
  const type = oneLine(asText(message.type), 60);
  return [style.dim(`· ${type === '' ? 'a message' : type}`)];
}

function blocks(message: Fields): Fields[] {
  const { content } = fields(message.message);
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return Array.isArray(content) ? content.map(fields) : [];
}

function amount(value: unknown, say: (value: number) => string): string {
  return typeof value === 'number' && Number.isFinite(value) ? say(value) : '';
}
