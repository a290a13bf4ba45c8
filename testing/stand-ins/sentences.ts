/**
 * The sentences that every stand-in of a model understands, so that tests of the whole platform can make an agent write
 * files, run commands, remember, take long and fail, by what the user says alone.
 *
 *   write <path>: <content>     writes a file with a tool, then says that it wrote it
 *   run <shell command>         runs it with a tool, then quotes what it printed
 *   call <tool> <json>          any tool, then quotes its result
 *   remember <fact>             kept nowhere but in the conversation
 *   what do you remember?       answers from the conversation in the request
 *   count slowly to <n>         a long stream, a number every 100 ms
 *   fail with <status>          the API's error of that status
 *   cut the stream              the connection breaks in the middle of the answer
 *   <anything else>             You said: …
 */
export type Sentence =
  | { kind: 'write'; path: string; content: string }
  | { kind: 'run'; command: string }
  | { kind: 'call'; tool: string; input: Record<string, unknown> }
  | { kind: 'remember'; fact: string }
  | { kind: 'recall' }
  | { kind: 'count'; to: number }
  | { kind: 'fail'; status: number }
  | { kind: 'cut' }
  | { kind: 'other' };

/** Between two deltas of a slow count. */
export const SLOW_MS = 100;
/** What a broken answer would have counted to, and how far it gets. */
export const CUT = { to: 20, afterChunks: 5 };

export function readSentence(said: string): Sentence {
  const write = /^write (\S+): ([\s\S]*)$/i.exec(said);
  if (write) return { kind: 'write', path: write[1] ?? '', content: write[2] ?? '' };
  const run = /^run ([\s\S]+)$/i.exec(said);
  if (run) return { kind: 'run', command: run[1] ?? '' };
  const tool = /^call (\S+) (\{[\s\S]*\})$/i.exec(said);
  if (tool) return { kind: 'call', tool: tool[1] ?? '', input: JSON.parse(tool[2] ?? '{}') };
  const count = /^count slowly to (\d+)/i.exec(said);
  if (count) return { kind: 'count', to: Number(count[1]) };
  const failure = /^fail with (\d{3})/i.exec(said);
  if (failure) return { kind: 'fail', status: Number(failure[1]) };
  if (/^cut the stream/i.test(said)) return { kind: 'cut' };
  if (/^what do you remember/i.test(said)) return { kind: 'recall' };
  const remember = /^remember ([\s\S]+)$/i.exec(said);
  return remember ? { kind: 'remember', fact: remember[1] ?? '' } : { kind: 'other' };
}

/** The facts of the conversation's own `remember` sentences, given all that was said in it. */
export function recall(all: readonly string[]): string {
  const facts = all.map(readSentence).flatMap((read) => (read.kind === 'remember' ? [read.fact] : []));
  return facts.length === 0 ? 'I remember nothing.' : `I remember: ${facts.join('; ')}`;
}

export function numbers(to: number): string {
  return Array.from({ length: Math.min(to, 100_000) }, (_, index) => index + 1).join(' ');
}
