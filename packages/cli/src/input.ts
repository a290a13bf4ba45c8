import { UsageError } from './failure.ts';

/** A message from the command line, or all of stdin where none stands there. */
export async function readPrompt(
  argument: string | undefined,
  stdin: NodeJS.ReadStream = process.stdin,
): Promise<string> {
  if (argument !== undefined && argument !== '-') {
    if (argument.trim() === '') throw new UsageError('the message is empty');
    return argument;
  }
  if (stdin.isTTY) throw new UsageError('PROMPT is missing; give it as an argument or on stdin');
  let text = '';
  for await (const chunk of stdin.setEncoding('utf8')) text += chunk;
  if (text.trim() === '') throw new UsageError('the message on stdin is empty');
  return text;
}

export function wholeNumber(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new UsageError(`--${flag} must be a whole number`);
  return Number(text);
}

/** The given fields that have a value: API params are absent rather than undefined. */
export function given<T extends Record<string, unknown>>(
  params: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
