import { newId } from '@atoll/protocol/ids';
import type { CommandEvent, RunnerLink } from '@atoll/protocol/runner-link';

export type ShellCommand = {
  command: string;
  cwd?: string | undefined;
  timeoutMs?: number | undefined;
};

/** Runs a shell command in a sandbox. It ends when the signal aborts, or when its reader leaves. */
export function execIn(
  link: RunnerLink,
  sandbox: { sandboxId: string; epoch: number },
  { command, cwd, timeoutMs }: ShellCommand,
  { signal, traceparent }: { signal: AbortSignal; traceparent: string },
): AsyncIterable<CommandEvent> {
  const target = { ...sandbox, commandId: newId('command') };
  // Where that cannot be told, the command ends with its timeout or its sandbox.
  const cancel = () => void link.cancel(target).catch(() => undefined);
  const params = {
    command,
    ...(cwd === undefined ? {} : { cwd }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
  const events = link.command({ ...target, traceparent, command: { method: 'exec', params } });
  // The client may have left while the sandbox came up.
  if (signal.aborted) cancel();
  else signal.addEventListener('abort', cancel, { once: true });
  return read(acknowledging(link, target, events), {
    onEnd: () => signal.removeEventListener('abort', cancel),
    onLeft: cancel,
  });
}

/** The next event; undefined when there is none any more. */
type Next = () => Promise<CommandEvent | undefined>;

/** Nothing of it is kept: what came here need not be held anywhere else. */
function acknowledging(
  link: RunnerLink,
  target: { sandboxId: string; epoch: number; commandId: string },
  events: AsyncIterable<CommandEvent>,
): Next {
  const reader = events[Symbol.asyncIterator]();
  return async () => {
    const { done, value } = await reader.next();
    if (done) return undefined;
    link.acknowledge({ ...target, line: value.line });
    return value;
  };
}

async function* read(next: Next, { onEnd, onLeft }: Record<'onEnd' | 'onLeft', () => void>) {
  let over = false;
  try {
    for (let event = await next(); event; event = await next()) {
      over = event.kind === 'end';
      if (over) onEnd();
      yield event;
    }
    over = true;
  } finally {
    onEnd();
    if (!over) {
      onLeft();
      void readToEnd(next);
    }
  }
}

/** A runner elsewhere holds a command until its end was acknowledged. */
async function readToEnd(next: Next): Promise<void> {
  try {
    while (await next());
  } catch {
    // Whoever breaks it off holds nothing of it, or is lost.
  }
}
