/** A command's output, as SSE frames or gathered into one answer. */
import type { OperationResult } from '@atoll/protocol/operations';
import type { CommandEnd, CommandEvent } from '@atoll/protocol/runner-link';
import { sseFrame } from '@atoll/protocol/sse';

/** Of each stream, in the JSON answer. */
const MAX_OUTPUT_CHARS = 8 * 1024 * 1024;

export async function* execFrames(
  events: AsyncIterable<CommandEvent>,
  where: { sessionId: string; turnId: null } | { sandboxId: string },
): AsyncGenerator<Uint8Array> {
  yield frame('ready', { ...where, status: 'running' });
  for await (const event of events) {
    if (event.kind === 'output') yield frame(event.stream, { text: event.text });
    else if (event.kind === 'end') yield frame('exit', exitOf(event));
  }
}

export async function execResult(
  events: AsyncIterable<CommandEvent>,
): Promise<OperationResult<'session.exec'>> {
  const output = { stdout: '', stderr: '' };
  let truncated = false;
  let end: CommandEnd = { kind: 'end', status: 'failed', cause: 'executor_failed' };
  for await (const event of events) {
    if (event.kind === 'end') end = event;
    if (event.kind !== 'output') continue;
    const room = MAX_OUTPUT_CHARS - output[event.stream].length;
    if (event.text.length > room) truncated = true;
    output[event.stream] += event.text.slice(0, Math.max(0, room));
  }
  return { ...output, ...exitOf(end), truncated };
}

function exitOf({ exitCode, timedOut, cause, detail }: CommandEnd) {
  return {
    exitCode: exitCode ?? null,
    timedOut: timedOut ?? false,
    ...(cause === undefined ? {} : { cause }),
    ...(detail === undefined ? {} : { detail }),
  };
}

function frame(event: string, data: unknown): Uint8Array {
  return Buffer.from(sseFrame({ event, data: JSON.stringify(data) }));
}
