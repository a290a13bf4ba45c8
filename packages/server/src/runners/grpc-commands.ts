/**
 * The commands at a runner that dialled in, and their readers. A stream that breaks loses nothing of them: over the next
 * one each is asked for again, after the last line that came.
 */
import { AtollError, asAtollError } from '@atoll/protocol/errors';
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

type Of = { commandId: string; sandboxId: string; epoch: number };

type OpenCommand = {
  request: SandboxCommand;
  /** The last line that came. */
  line: number;
  events: CommandEvent[];
  /** Of those, what nobody took. */
  unreadBytes: number;
  over: boolean;
  /** Why it was not begun, or does not go on. */
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

  /** Undefined: nobody reads it any more. */
  function openOf({ commandId, sandboxId }: Of): OpenCommand | undefined {
    const open = commands.get(commandId);
    return open && !open.over && open.request.sandboxId === sandboxId ? open : undefined;
  }

  /** What it may not say, no other attempt would mend: the command ends with that, and then the stream. */
  function hear(of: Of, eventIn: () => CommandEvent): void {
    try {
      const event = eventIn();
      const open = openOf(of);
      if (open) take(open, of.epoch, event);
    } catch (error) {
      const { detail } = asAtollError(error);
      refuse(of, new AtollError('executor_failed', `the runner does not answer as one: ${detail}`));
      throw error;
    }
  }

  function refuse(of: Of, why: AtollError): void {
    const open = openOf(of);
    if (!open) return;
    open.over = true;
    open.refusal = why;
    open.changed.resolve();
  }

  function take(open: OpenCommand, epoch: number, event: CommandEvent): void {
    const { request } = open;
    if (epoch !== request.epoch)
      throw new AtollError('invalid_request', `epoch ${epoch} is not ${request.epoch}, that of the command`);
    if (!Number.isSafeInteger(event.line) || firstLineOf(event) < 1)
      throw new AtollError('invalid_request', `line ${event.line} is none that there can be`);
    if (event.line <= open.line) {
      if (event.kind === 'end')
        throw new AtollError('invalid_request', `a command ends after line ${open.line}, which it said`);
      // It comes twice, which a new stream may bring about.
      return;
    }
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
      eventBatch: (batch) => hear(batch, () => messagesOf(batch)),
      commandOutput: (output) => hear(output, () => outputOf(output)),
      approvalRequest: (request) => hear(request, () => outputOf(request)),
      commandEnd(end) {
        if (end.status === 'refused') refuse(end, failureOf(end));
        else hear(end, () => commandEndOf(end));
      },
    },
  };
}

function bytesOf(event: CommandEvent): number {
  if (event.kind === 'messages') return event.messages.bytes.length;
  return event.kind === 'log' || event.kind === 'output' ? event.text.length : 0;
}

function firstLineOf(event: CommandEvent): number {
  return event.kind === 'messages' ? event.line - event.messages.spans.length / 2 + 1 : event.line;
}

/** Of messages that came in part before, the others. */
function linesAfter(event: CommandEvent, after: number): CommandEvent {
  if (event.kind !== 'messages') return event;
  const { bytes, spans } = event.messages;
  const known = after + 1 - firstLineOf(event);
  return known <= 0 ? event : { ...event, messages: { bytes, spans: spans.subarray(2 * known) } };
}
