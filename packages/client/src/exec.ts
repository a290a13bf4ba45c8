import { AtollError, isErrorCode } from '@atoll/protocol/errors';
import { type OperationInput, operations } from '@atoll/protocol/operations';
import { readConnection } from './connection.ts';
import { Unreachable } from './errors.ts';
import { type ExecEvent, eventData, toExecEvent } from './stream-event.ts';
import type { StreamContext } from './streams.ts';

export type ExecParams = Omit<OperationInput<'session.exec'>, 'sessionId'>;
type ExecName = 'session.exec' | 'sandbox.exec';

export async function* execEvents<N extends ExecName>(
  { transport, timers }: StreamContext,
  name: N,
  params: OperationInput<N>,
  signal: AbortSignal | undefined,
): AsyncGenerator<ExecEvent> {
  const open = (connection: AbortSignal) =>
    transport.send(operations[name], params, { accept: 'text/event-stream', signal: connection });
  try {
    for await (const event of readConnection({ url: transport.url, timers, signal, open })) {
      const failure = eventData(event, 'error');
      if (failure !== undefined)
        throw new AtollError(isErrorCode(failure.code) ? failure.code : 'internal', failure.detail);
      const output = toExecEvent(event);
      if (output === undefined) continue;
      yield output;
      if (output.kind === 'exit') return;
    }
  } catch (error) {
    if (signal?.aborted) return;
    throw error;
  }
  throw new Unreachable(transport.url, 'the stream ended before the command did');
}
