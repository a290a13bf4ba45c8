import { newId } from '@atoll/protocol/ids';
import type { CommandEvent, RunnerLink } from '@atoll/protocol/runner-link';

export type ShellCommand = {
  command: string;
  cwd?: string | undefined;
  timeoutMs?: number | undefined;
};

/** Runs a shell command in a sandbox. It ends when the signal aborts. */
export function execIn(
  link: RunnerLink,
  sandbox: { sandboxId: string; epoch: number },
  { command, cwd, timeoutMs }: ShellCommand,
  { signal, traceparent }: { signal: AbortSignal; traceparent: string },
): AsyncIterable<CommandEvent> {
  const target = { ...sandbox, commandId: newId('command') };
  const cancel = () => void link.cancel(target);
  const params = {
    command,
    ...(cwd === undefined ? {} : { cwd }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
  const events = link.command({ ...target, traceparent, command: { method: 'exec', params } });
  // The client may have left while the sandbox came up.
  if (signal.aborted) cancel();
  else signal.addEventListener('abort', cancel, { once: true });
  return acknowledged(link, target, events);
}

/** Nothing of it is kept: what its reader took is enough. */
async function* acknowledged(
  link: RunnerLink,
  target: { sandboxId: string; epoch: number; commandId: string },
  events: AsyncIterable<CommandEvent>,
): AsyncGenerator<CommandEvent> {
  for await (const event of events) {
    yield event;
    link.acknowledge({ ...target, line: event.line });
  }
}
