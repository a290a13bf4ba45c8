/** A shell command in a sandbox, as `session exec` and `sandbox exec` show it. */
import type { Client, ExecEvent } from '@atoll/client';
import { Failed } from './failure.ts';
import { given, wholeNumber } from './input.ts';
import type { Invocation } from './invocation.ts';
import { harmless } from './terminal.ts';

type ShellCommand = Parameters<Client['exec']>[1];

export async function runExec(
  invocation: Invocation,
  open: (client: Client, command: ShellCommand) => AsyncIterable<ExecEvent>,
): Promise<void> {
  const { rest, options, terminal } = invocation;
  const timeoutMs = wholeNumber('timeout-ms', options['timeout-ms']);
  const command = rest.length === 1 ? (rest[0] ?? '') : rest.map(quoted).join(' ');
  const client = await invocation.client();
  for await (const event of open(client, { command, ...given({ cwd: options.cwd, timeoutMs }) })) {
    if (terminal.json) terminal.value(event);
    if (event.kind === 'exit') {
      if (event.exitCode === 0) return;
      const how = event.timedOut ? 'ran out of time' : `exited with ${event.exitCode ?? 'a signal'}`;
      if (!terminal.json) terminal.note(`The command ${how}.`);
      throw new Failed(`the command ${how}`);
    }
    if (terminal.json) continue;
    const stream = event.kind === 'stdout' ? process.stdout : process.stderr;
    stream.write(stream.isTTY ? harmless(event.text) : event.text);
  }
}

/** Several words come from a shell that has already taken off their quotes; the one in the sandbox needs them. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
