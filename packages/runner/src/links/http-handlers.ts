/**
 * What a runner elsewhere answers over HTTP: the operations of its table, each by its held link. The routes are made
 * from the table by whoever serves them.
 */
import { AtollError } from '@atoll/protocol/errors';
import type { CommandEvent, FileContent } from '@atoll/protocol/runner-link';
import type {
  RunnerOperationName,
  RunnerOperationParams,
  RunnerOperationResult,
  runnerOperations,
} from '@atoll/protocol/runner-operations';
import { frameOf } from './command-frames.ts';
import type { HeldLink } from './held-link.ts';

type Context = { signal: AbortSignal };
type Body = AsyncIterable<Uint8Array>;
type HandlerOf<N extends RunnerOperationName> = (typeof runnerOperations)[N] extends { kind: 'stream' }
  ? {
      json: (params: RunnerOperationParams<N>, context: Context) => Promise<RunnerOperationResult<N>>;
      stream: (params: RunnerOperationParams<N>, context: Context) => Promise<AsyncIterable<Uint8Array>>;
    }
  : (typeof runnerOperations)[N] extends { rest: { bytes: 'out' } }
    ? (params: RunnerOperationParams<N>, context: Context) => Promise<FileContent>
    : (params: RunnerOperationParams<N>, context: Context, body: Body) => Promise<RunnerOperationResult<N>>;

export type RunnerHandlers = { [N in RunnerOperationName]: HandlerOf<N> };

export function createRunnerHandlers(options: {
  link: HeldLink;
  health: () => Promise<RunnerOperationResult<'health.show'>>;
}): RunnerHandlers {
  const { link, health } = options;

  const shown = (id: string) => {
    const sandbox = link.inventory().find((each) => each.id === id);
    if (!sandbox) throw new AtollError('sandbox_failed', `sandbox ${id} has ended`);
    return sandbox;
  };

  return {
    'health.show': health,
    'sandbox.list': async () => ({ sandboxes: link.inventory() }),
    async 'sandbox.create'(request) {
      await link.createSandbox(request);
      return { sandbox: shown(request.sandbox.id) };
    },
    async 'sandbox.claim'(request) {
      await link.claimSandbox(request);
      return {};
    },
    async 'sandbox.delete'({ sandboxId, workspaceId = link.workspaceOf(sandboxId), ...how }) {
      await link.deleteSandbox({ sandboxId, workspaceId, ...how });
      return {};
    },
    async 'sandbox.sweep'(request) {
      await link.sweep(request);
      return {};
    },
    'command.run': {
      json: streamsOnly,
      async stream({ lastEventId = '0', ...request }, { signal }) {
        return frames(link.command(request, { after: Number(lastEventId), signal }));
      },
    },
    'command.events': {
      json: streamsOnly,
      async stream({ sandboxId, commandId, after, lastEventId }, { signal }) {
        const from = lastEventId === undefined ? (after ?? 0) : Number(lastEventId);
        return frames(link.attach({ sandboxId, commandId }, { after: from, signal }));
      },
    },
    async 'command.cancel'(request) {
      await link.cancel(request);
      return {};
    },
    async 'approval.decide'({ sandboxId, requestId, epoch, decision, message, answers }) {
      const told = {
        decision,
        ...(message === undefined ? {} : { message }),
        ...(answers === undefined ? {} : { answers }),
      };
      await link.decide({ sandboxId, requestId, epoch, decision: told });
      return {};
    },
    async ack({ sandboxId, line, commandId }) {
      link.acknowledge({ sandboxId, line, ...(commandId === undefined ? {} : { commandId }) });
      return {};
    },
    'workspace.snapshot': ({ workspaceId, ...request }) =>
      link
        .snapshot({ workspaceId: link.workspaceOf(workspaceId), ...request })
        .then(({ skipped, ...taken }) => ({ ...taken, skipped: { ...skipped, first: [...skipped.first] } })),
    async 'workspace.restore'({ workspaceId, ...request }) {
      await link.restore({ workspaceId: link.workspaceOf(workspaceId), ...request });
      return {};
    },
    'files.list': ({ workspaceId, prefix, cursor, limit }) =>
      link.files.list({
        workspaceId: link.workspaceOf(workspaceId),
        limit,
        ...(prefix === undefined ? {} : { prefix }),
        ...(cursor === undefined ? {} : { cursor }),
      }),
    'files.read': ({ workspaceId, path, offset = 0, length = Number.MAX_SAFE_INTEGER }) =>
      link.files.read({ workspaceId: link.workspaceOf(workspaceId), path, range: { offset, length } }),
    'files.write': ({ workspaceId, path }, _context, content) =>
      link.files.write({ workspaceId: link.workspaceOf(workspaceId), path, content }),
    async 'files.delete'({ workspaceId, path }) {
      await link.files.remove({ workspaceId: link.workspaceOf(workspaceId), path });
      return {};
    },
  };
}

async function streamsOnly(): Promise<never> {
  throw new AtollError('not_acceptable', 'this gives text/event-stream');
}

async function* frames(events: AsyncIterable<CommandEvent>): AsyncGenerator<Uint8Array> {
  for await (const event of events) yield frameOf(event);
}
