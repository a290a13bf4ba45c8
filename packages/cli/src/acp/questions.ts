/**
 * A question of the agent, put to whoever sits at the editor: as a form where the editor has forms, or as a choice of
 * permissions where it is one question with a few answers. ACP agents and MCP servers ask by a schema, Claude by a list of
 * questions.
 */
import type { ElicitationSchema } from '@agentclientprotocol/sdk';
import { asText, fields } from '../render/fields.ts';
import { list } from './claude-updates.ts';

export type Form = { message: string; requestedSchema: ElicitationSchema };
export type Choice = { question: string; answers: string[] };

export function formOf(input: Record<string, unknown>): Form | undefined {
  const { properties } = fields(input.requestedSchema);
  const message = asText(input.message) || 'The agent has a question.';
  if (typeof properties === 'object')
    return {
      message,
      requestedSchema: { type: 'object', ...fields(input.requestedSchema) } as ElicitationSchema,
    };
  const questions = list(input.questions);
  if (questions.length === 0) return undefined;
  const asked = questions.map((one) => [asText(one.question), fieldOf(one)]);
  return {
    message,
    requestedSchema: {
      type: 'object',
      properties: Object.fromEntries(asked),
      required: asked.map(([name]) => name),
    } as ElicitationSchema,
  };
}

function fieldOf({ question, header, options, multiSelect }: Record<string, unknown>): object {
  const labels = labelsOf(options);
  const about = { title: asText(header) || asText(question), description: asText(question) };
  if (labels.length === 0) return { type: 'string', ...about };
  if (multiSelect === true) return { type: 'array', ...about, items: { type: 'string', enum: labels } };
  return { type: 'string', ...about, enum: labels };
}

/** Where there is one question, and one of a few answers to it. */
export function choiceOf(input: Record<string, unknown>): Choice | undefined {
  const [only, ...others] = list(input.questions);
  if (only === undefined || others.length > 0 || only.multiSelect === true) return undefined;
  const answers = labelsOf(only.options);
  return answers.length === 0 ? undefined : { question: asText(only.question), answers };
}

/** What was filled in, in words, by the name of its field. */
export function answersOf(content: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields(content)).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.map(String).join(', ') : String(value),
    ]),
  );
}

function labelsOf(options: unknown): string[] {
  return list(options)
    .map(({ label }) => asText(label))
    .filter((label) => label !== '');
}
