/** A tool of Claude's in ACP's words: what it is called, of which kind it is, where it works, what it changes. */
import type { ToolCall, ToolCallContent, ToolKind } from '@agentclientprotocol/sdk';
import { asText, type Fields } from '../render/fields.ts';
import { toolSubject } from '../render/tool-subject.ts';
import { oneLine } from '../terminal.ts';

const MAX_TITLE_CHARS = 200;

const kinds: Readonly<Record<string, ToolKind>> = {
  Read: 'read',
  NotebookRead: 'read',
  Edit: 'edit',
  MultiEdit: 'edit',
  Write: 'edit',
  NotebookEdit: 'edit',
  Bash: 'execute',
  BashOutput: 'execute',
  KillShell: 'execute',
  Glob: 'search',
  Grep: 'search',
  LS: 'search',
  WebFetch: 'fetch',
  WebSearch: 'fetch',
  Task: 'think',
  Agent: 'think',
  ExitPlanMode: 'switch_mode',
};

export function describeTool(name: string, input: Fields): Omit<ToolCall, 'toolCallId'> {
  const path = pathInside(asText(input.file_path) || asText(input.notebook_path) || asText(input.path));
  const content = changesOf(name, input);
  return {
    title: oneLine(`${name || 'tool'} ${toolSubject(input)}`, MAX_TITLE_CHARS),
    name,
    kind: Object.hasOwn(kinds, name) ? kinds[name] : 'other',
    rawInput: input,
    ...(path === '' ? {} : { locations: [{ path }] }),
    ...(content.length === 0 ? {} : { content }),
  } as Omit<ToolCall, 'toolCallId'>;
}

function changesOf(name: string, input: Fields): ToolCallContent[] {
  const path = pathInside(asText(input.file_path));
  if (path === '') return [];
  if (name === 'Write') return [{ type: 'diff', path, oldText: null, newText: asText(input.content) }];
  if (name !== 'Edit') return [];
  return [{ type: 'diff', path, oldText: asText(input.old_string), newText: asText(input.new_string) }];
}

/** Paths are absolute in ACP; an agent's are of its sandbox. */
export function pathInside(path: string): string {
  return path === '' || path.startsWith('/') ? path : `/workspace/${path}`;
}
