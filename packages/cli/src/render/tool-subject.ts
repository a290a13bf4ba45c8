import { asText, type Fields } from './fields.ts';

const TELLING = ['file_path', 'path', 'command', 'pattern', 'url', 'query', 'description', 'prompt'];

/** What a tool is used on: the one input that tells most. */
export function toolSubject(input: Fields): string {
  const name = TELLING.find((candidate) => typeof input[candidate] === 'string');
  if (name !== undefined) return asText(input[name]);
  return asText(Object.values(input).find((value) => typeof value === 'string'));
}
