/**
 * The answers to a question, as the agent's form wants them. A form is an object of texts, numbers, switches and
 * choices; people answer in words, by the name or the title of a field, or with one message for all of it.
 */
import type { ApprovalDecision } from '@atoll/protocol/approvals';
import { isRecord } from '../params.ts';
import { member } from './acp-prompt.ts';

type Field = { name: string; schema: Record<string, unknown> };

export function contentOf(
  requested: unknown,
  { answers, message }: ApprovalDecision,
): Record<string, unknown> {
  const fields = fieldsOf(requested);
  const given = answers ?? (message === undefined ? {} : sameAnswer(fields, message));
  return Object.fromEntries(
    fields.flatMap(({ name, schema }) => {
      const title = schema.title;
      const words = given[name] ?? (typeof title === 'string' ? given[title] : undefined);
      return words === undefined ? [] : [[name, inputFor(schema, words)]];
    }),
  );
}

function fieldsOf(requested: unknown): Field[] {
  const properties = member(requested, 'properties');
  if (!isRecord(properties)) return [];
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    schema: isRecord(schema) ? schema : {},
  }));
}

/** To every choice that has it, and to the texts when none has. */
function sameAnswer(fields: readonly Field[], message: string): Record<string, string> {
  const choices = fields.filter(({ schema }) => choiceOf(schema, message) !== undefined);
  const texts = fields.filter(({ schema }) => optionsOf(schema).length === 0);
  const taking = choices.length > 0 ? choices : texts;
  return Object.fromEntries(taking.map(({ name }) => [name, message]));
}

function inputFor(schema: Record<string, unknown>, words: string): unknown {
  const { type } = schema;
  if (type === 'array') return words.split(',').map((word) => choiceOf(schema, word.trim()) ?? word.trim());
  if (type === 'boolean') return /^(?:true|yes|y|1)$/i.test(words.trim());
  if ((type === 'number' || type === 'integer') && words.trim() !== '' && Number.isFinite(Number(words)))
    return Number(words);
  return choiceOf(schema, words) ?? words;
}

/** The value of the choice that is called so. */
function choiceOf(schema: Record<string, unknown>, words: string): string | undefined {
  return optionsOf(schema).find(({ value, title }) => value === words || title === words)?.value;
}

function optionsOf(schema: Record<string, unknown>): { value: string; title: unknown }[] {
  const { items } = schema;
  const places = [
    schema.enum,
    schema.oneOf,
    member(items, 'enum'),
    member(items, 'anyOf'),
    member(items, 'oneOf'),
  ];
  return places
    .flatMap((list) => (Array.isArray(list) ? list : []))
    .map((option: unknown) => ({ value: member(option, 'const') ?? option, title: member(option, 'title') }))
    .flatMap(({ value, title }) => (typeof value === 'string' ? [{ value, title }] : []));
}
