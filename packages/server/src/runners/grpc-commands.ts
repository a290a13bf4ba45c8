/**
 * The commands at a runner that dialled in, and their readers. A stream that breaks loses nothing of them: over the next
 * one each is asked for again, after the last line that came.
 */
import { AtollError } from '@atoll/protocol/errors';
import type { CoordinatorMessages, RunnerMessages } from '@atoll/protocol/grpc-messages';
import type { CommandEvent, SandboxCommand } from '@atoll/protocol/runner-link';
import { commandEndOf, failureOf, messagesOf, outputOf } from './grpc-events.ts';
import { LOST } from './remote-link.ts';

export type GrpcCommands = {
  /** Begins it, or goes on with it after that line. */
  read(request: SandboxCommand, line: number): AsyncGenerator<CommandEvent>;
  /** Asks the runner for all that are not over. */
  again(): void;
  /** Nothing comes any more. */
  lose(): void;
  readonly receivers: {
    [N in 'eventBatch' | 'commandOutput' | 'approvalRequest' | 'commandEnd']: (
      message: RunnerMessages[N],
    ) => void;
  };
};

type OpenCommand = {
  request: SandboxCommand;
  /** The last line that came. */
  line: number;
  events: CommandEvent[];
  /** Of those, what nobody took. */
  unreadBytes: number;
  over: boolean;
  /** Why it was not begun. */
  refusal: AtollError | undefined;
  changed: PromiseWithResolvers<void>;
};

const MAX_UNREAD_BYTES = 64 * 1024 * 1024;

export function createGrpcCommands(
  send: (message: { command: CoordinatorMessages['command'] }) => void,
): GrpcCommands {
  const commands = new Map<string, OpenCommand>();
  let lost = false;

  function begin({ request, line: after }: OpenCommand): void {
    const { commandId, sandboxId, epoch, traceparent = '', command } = request;
    const params = Buffer.from(JSON.stringify(command.params));
    send({ command: { commandId, sandboxId, epoch, traceparent, method: command.method, params, after } });
  }

  async function* read(request: SandboxCommand, line: number): AsyncGenerator<CommandEvent> {
    const { commandId } = request;
    const open: OpenCommand = {
      request,
      line,
      events: [],
      unreadBytes: 0,
      over: false,
      refusal: undefined,
      changed: Promise.withResolvers(),
    };
    commands.set(commandId, open);
    try {
      begin(open);
      for (;;) {
        const next = open.events.shift();
        if (next) {
          open.unreadBytes -= bytesOf(next);
          yield next;
          if (next.kind === 'end') return;
        } else if (open.refusal) throw open.refusal;
        else if (lost) {
          yield { ...LOST, line: open.line + 1 };
          return;
        } else await open.changed.promise;
      }
    } finally {
      // Left early, the runner holds what came then until the sandbox is gone.
      if (commands.get(commandId) === open) commands.delete(commandId);
    }
  }

  function take({ commandId, sandboxId }: { commandId: string; sandboxId: string }, event: CommandEvent) {
    const open = commands.get(commandId);
    // Nobody reads it any more; or it comes twice, which a new stream may bring about.
    if (!open || open.over || open.request.sandboxId !== sandboxId || event.line <= open.line) return;
    if (!Number.isSafeInteger(event.line))
      throw new AtollError('invalid_request', `line ${event.line} is more than there can be`);
    const later = linesAfter(event, open.line);
    open.line = event.line;
    open.over = event.kind === 'end';
    open.events.push(later);
    open.unreadBytes += bytesOf(later);
    // A runner holds what was not acknowledged, and so sends far less.
    if (open.unreadBytes > MAX_UNREAD_BYTES)
      throw new AtollError('invalid_request', 'more of a command came than may be held unacknowledged');
    open.changed.resolve();
    open.changed = Promise.withResolvers();
  }

  return {
    read,
    again() {
      for (const open of commands.values()) if (!open.over) begin(open);
    },
    lose() {
      lost = true;
      for (const { changed } of commands.values()) changed.resolve();
    },
    receivers: {
      eventBatch: (batch) => take(batch, messagesOf(batch)),
      commandOutput: (output) => take(output, outputOf(output)),
      approvalRequest: (request) => take(request, outputOf(request)),
      commandEnd(end) {
        if (end.status !== 'refused') return take(end, commandEndOf(end));
        const open = commands.get(end.commandId);
        if (!open || open.over) return;
        open.over = true;
        open.refusal = failureOf(end);
        open.changed.resolve();
      },
    },
  };
}

function bytesOf(event: CommandEvent): number {
  if (event.kind === 'messages') return event.messages.bytes.length;
  return event.kind === 'log' || event.kind === 'output' ? event.text.length : 0;
}

/** Of messages that came in part before, the others. */
function linesAfter(event: CommandEvent, after: number): CommandEvent {
  if (event.kind !== 'messages') return event;
  const { bytes, spans } = event.messages;
  const known = after - (event.line - spans.length / 2);
  return known <= 0 ? event : { ...event, messages: { bytes, spans: spans.subarray(2 * known) } };
}
