/** The names of the tools that a message of an executor says it uses; [] for what is not as expected. */
import { codexTool } from './codex-notification.ts';
import { asText, type Fields, fields } from './fields.ts';

export function toolsUsed(message: unknown): string[] {
  const all = fields(message);
  return namesIn(all).filter((name) => name !== '');
}

function namesIn({ type, message, update, method, params }: Fields): string[] {
  if (type === 'assistant') {
    const { content } = fields(message);
    const blocks = Array.isArray(content) ? content.map(fields) : [];
    return blocks.filter((block) => block.type === 'tool_use').map((block) => asText(block.name));
  }
  // Of an ACP agent; its title is of this one call.
  const { sessionUpdate, kind, title } = fields(update);
  if (sessionUpdate === 'tool_call') return [asText(kind) || asText(title)];
  return method === 'item/started' ? codexTool(fields(fields(params).item)).slice(0, 1) : [];
}
