/** The tool calls that the editor knows and that have not ended: an approval is shown at the call that it is about. */
import { isDeepStrictEqual } from 'node:util';
import type { ToolCallUpdate } from '@agentclientprotocol/sdk';
import { asText, type Fields, fields } from '../render/fields.ts';
import type { Told } from './updates.ts';

const MAX_CALLS = 256;

export type ToolCalls = {
  note(told: Told): void;
  /** The call of this tool with this input, or else the last one of this tool. */
  find(tool: string, input: unknown): ToolCallUpdate | undefined;
};

export function createToolCalls(): ToolCalls {
  const open = new Map<string, Fields>();

  return {
    note({ update }) {
      const { sessionUpdate, ...call } = fields(update);
      const id = asText(call.toolCallId);
      if (!asText(sessionUpdate).startsWith('tool_call') || id === '') return;
      const known = open.get(id);
      open.delete(id);
      if (call.status === 'completed' || call.status === 'failed') return;
      open.set(id, { ...known, ...call });
      const [oldest] = open.keys();
      if (open.size > MAX_CALLS && oldest !== undefined) open.delete(oldest);
    },
    find(tool, input) {
      const calls = [...open.values()].filter((call) => nameOf(call) === tool).reverse();
      const found = calls.find(({ rawInput }) => isDeepStrictEqual(rawInput, input)) ?? calls[0];
      return found as ToolCallUpdate | undefined;
    },
  };
}

/** As the approval names it: not every agent names its tools. */
function nameOf({ name, title, kind }: Fields): string {
  return asText(name) || asText(title) || asText(kind);
}
