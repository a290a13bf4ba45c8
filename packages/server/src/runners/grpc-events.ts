/** The events of commands out of the messages of a runner that dialled in; messages stay bytes (I3). */
import { AtollError, isErrorCode } from '@atoll/protocol/errors';
import type { RunnerMessages } from '@atoll/protocol/grpc-messages';
import { parse } from '@atoll/protocol/parse';
import type { CommandEvent } from '@atoll/protocol/runner-link';
import { commandEvents } from '@atoll/protocol/schemas/runner-link';
import { faultIn } from './message-bytes.ts';

const LF = 0x0a;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** Throws `invalid_request` for what is not whole lines that look like JSON objects. */
export function messagesOf({ firstLine, bytes }: RunnerMessages['eventBatch']): CommandEvent {
  const fault = faultIn(bytes);
  if (fault !== undefined) throw new AtollError('invalid_request', `an event batch holds ${fault}`);
  const spans: number[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(LF, start);
    if (end === -1 || bytes[start] !== OPEN || bytes[end - 1] !== CLOSE)
      throw new AtollError('invalid_request', 'an event batch holds what is no message');
    spans.push(start, end);
    start = end + 1;
  }
  if (spans.length === 0) throw new AtollError('invalid_request', 'an event batch is empty');
  const line = firstLine + spans.length / 2 - 1;
  return { kind: 'messages', messages: { bytes, spans: Uint32Array.from(spans) }, line };
}

export function outputOf(
  said: RunnerMessages['commandOutput'] | RunnerMessages['approvalRequest'],
): CommandEvent {
  if ('request' in said) {
    const { requestId, request, line } = said;
    return {
      kind: 'approval',
      ...parse(commandEvents.approval, { requestId, request: readJson(request) }),
      line,
    };
  }
  const { stream, text, line } = said;
  if (stream === 'log') return { kind: 'log', text, line };
  if (stream === 'stdout' || stream === 'stderr') return { kind: 'output', stream, text, line };
  throw new AtollError('invalid_request', `output of a stream ${stream.slice(0, 100)}`);
}

export function commandEndOf(end: RunnerMessages['commandEnd']): CommandEvent {
  const { line, status, cause, detail, executorSessionId, usage, exitCode, timedOut, sandboxEnded } = end;
  const said = {
    status,
    ...(cause === '' ? {} : { cause }),
    ...(detail === '' ? {} : { detail }),
    ...(executorSessionId === '' ? {} : { executorSessionId }),
    ...(usage.length === 0 ? {} : { usage: readJson(usage) }),
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(timedOut ? { timedOut } : {}),
    ...(sandboxEnded ? { sandboxEnded } : {}),
  };
  return { kind: 'end', ...parse(commandEvents.end, said), line };
}

/** What a runner says of why it did not do something. */
export function failureOf({ cause, detail }: { cause: string; detail: string }): AtollError {
  const said = detail === '' ? undefined : detail.slice(0, 16 * 1024);
  return new AtollError(isErrorCode(cause) ? cause : 'sandbox_failed', said ?? cause);
}

function readJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
  } catch {
    throw new AtollError('invalid_request', 'what should be JSON is not');
  }
}
