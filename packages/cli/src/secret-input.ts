/** A secret from where nobody else sees it: a file, a pipe, or a prompt that shows nothing. Never from arguments. */
import { createReadStream } from 'node:fs';
import { Interrupted, SetupError, UsageError } from './failure.ts';
import type { Terminal } from './terminal.ts';

/** More than the server takes. */
const MAX_BYTES = 64 * 1024;

const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const CTRL_U = '\u0015';

/** Without the one line end that editors and `echo` put after it. `-` for stdin. */
export async function readSecret(
  file: string | undefined,
  terminal: Pick<Terminal, 'note'>,
  stdin: NodeJS.ReadStream = process.stdin,
): Promise<string> {
  const fromFile = file !== undefined && file !== '-';
  if (!fromFile && stdin.isTTY) return given(await prompt(terminal, stdin));
  const bytes = await gather(fromFile ? createReadStream(file) : stdin).catch((error: unknown) => {
    if (error instanceof UsageError || !fromFile) throw error;
    throw new SetupError(`cannot read ${file}: ${error instanceof Error ? error.message : error}`);
  });
  return given(decode(bytes).replace(/\r?\n$/, ''));
}

function given(value: string): string {
  if (value === '') throw new UsageError('the value is empty');
  return value;
}

async function gather(stream: AsyncIterable<Buffer | string>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    chunks.push(Buffer.from(chunk));
    size += chunk.length;
    if (size > MAX_BYTES) throw new UsageError('the value is too large to be one');
  }
  return Buffer.concat(chunks);
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new UsageError('the value is not text (UTF-8)');
  }
}

/** Keys come one by one, and unseen, in raw mode; so do those that a terminal otherwise acts on. */
async function prompt({ note }: Pick<Terminal, 'note'>, stdin: NodeJS.ReadStream): Promise<string> {
  // Before anybody is asked: what is typed from here on is not shown.
  stdin.setRawMode(true);
  try {
    note('Value (it is not shown; Enter ends it):');
    const typed: string[] = [];
    for await (const text of stdin.setEncoding('utf8') as AsyncIterable<string>)
      for (const key of text) {
        if (key === '\r' || key === '\n' || key === CTRL_D) return typed.join('');
        if (key === CTRL_C) throw new Interrupted();
        if (key === '\u007f' || key === '\b') typed.pop();
        else if (key === CTRL_U) typed.length = 0;
        else typed.push(key);
      }
    return typed.join('');
  } finally {
    stdin.setRawMode(false);
  }
}
