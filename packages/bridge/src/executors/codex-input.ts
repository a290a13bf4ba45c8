/** What a turn asks of Codex, in its words; or what of it Codex cannot do. */
import type { QueryOptions } from '@atoll/protocol/runner-link';
import type { Turn } from '../executor.ts';
import { isRecord } from '../params.ts';

export type TurnInput = { input: unknown[]; outputSchema?: unknown };

/** Throws an Error that says what Codex cannot do: a limit that is not kept must not look like one. */
export function turnInput({ content, options }: Turn): TurnInput {
  for (const name of ['maxTurns', 'maxBudgetUsd'] as const)
    if (options[name] !== undefined) throw new Error(`The executor codex cannot keep to ${name}.`);
  return { input: blocksOf(content).map(userInput), ...schemaOf(options) };
}

export function textInput(text: string): Record<string, unknown> {
  return { type: 'text', text, text_elements: [] };
}

function blocksOf(content: unknown): unknown[] {
  return Array.isArray(content) ? content : [{ type: 'text', text: content }];
}

function userInput(block: unknown): Record<string, unknown> {
  const { type, text, source } = isRecord(block) ? block : {};
  if (type === 'text' && typeof text === 'string') return textInput(text);
  if (type === 'image' && isRecord(source)) {
    const url = source.type === 'url' ? source.url : `data:${source.media_type};base64,${source.data}`;
    return { type: 'image', url };
  }
  throw new Error(`The executor codex takes blocks of text and images, and none of type ${String(type)}.`);
}

function schemaOf({ outputFormat }: QueryOptions): { outputSchema?: unknown } {
  if (outputFormat === undefined) return {};
  if (isRecord(outputFormat) && outputFormat.type === 'json_schema')
    return { outputSchema: outputFormat.schema };
  throw new Error('The executor codex knows the output format json_schema, and no other.');
}
