/**
 * The link to a runner in another process, over HTTP and SSE. A connection that is cut while the runner's lease runs is
 * opened again after the last line that came, and nobody above sees that; when the lease is over, whatever waits ends
 * with cause `runner_lost`.
 */
import type { IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { CommandEvent, FileContent, SandboxCommand, SandboxFiles } from '@atoll/protocol/runner-link';
import { createAcks } from './acks.ts';
import { createCommandEvents } from './command-events.ts';
import { LOST, type RemoteLink, soundSnapshot } from './remote-link.ts';
import { createRunnerHttp, type RunnerHttp } from './runner-http.ts';

/** The runner holds eight times as much of each command. */
const ACK_BYTES = 512 * 1024;
/** Each is a request. */
const ACK_MS = 500;
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 1_000;
/** A runner that starts again, or a connection that broke, is there again by then. */
const UNREACHED_MS = 3_000;
/** For an answer to end behind its last event. */
const LAST_MS = 1_000;

export type HttpLinkOptions = {
  runnerId: string;
  /** Where the runner listens: http or https. */
  address: string;
  /** What the runner gave to be called back with. */
  token: string;
  /** It was not reached when it registered anew. */
  doubted?: boolean;
};

export function createHttpLink({ runnerId, address, token, doubted = false }: HttpLinkOptions): RemoteLink {
  const http = createRunnerHttp({ address, token });
  const acks = createAcks({
    afterMs: ACK_MS,
    afterBytes: ACK_BYTES,
    // Only a lost runner does not answer at last, and it holds nothing.
    send: (all) => Promise.allSettled(all.map((ack) => http.call('ack', ack))),
  });

  async function* reattach(request: SandboxCommand, known: number): AsyncGenerator<CommandEvent> {
    let after = known;
    let pauseMs = FIRST_PAUSE_MS;
    try {
      for (;;) {
        const before = after;
        const events = await http.persist(() => attach(request, after));
        try {
          for await (const event of eventsOf(events, after, acks.came)) {
            after = event.line;
            yield event;
            if (event.kind === 'end') return;
          }
        } catch (error) {
          if (!isUnreachable(error)) throw error;
        }
        // One that answers and says nothing is not asked again without a pause.
        pauseMs = after > before ? FIRST_PAUSE_MS : Math.min(2 * pauseMs, MAX_PAUSE_MS);
        if (after === before) await delay(pauseMs);
      }
    } catch (error) {
      if (!http.closed) throw error;
      yield { ...LOST, line: after + 1 };
    }
  }

  /** The first time it begins the command; after that, and where the first answer was lost, it attaches to it. */
  function attach(request: SandboxCommand, after: number): Promise<IncomingMessage> {
    const headers = { accept: 'text/event-stream' };
    const params = { ...request, lastEventId: String(after) };
    return http.open('command.run', params, { headers }).catch((error: unknown) => {
      // It may be back before its lease is over.
      if (!isStopping(error)) throw error;
      throw new AtollError('runner_unreachable', 'the runner stops', { cause: error });
    });
  }

  return {
    runnerId,
    elsewhere: true,
    inventory: async () => (await http.call('sandbox.list', {})).sandboxes,
    reached() {
      const ms = http.unreachedMs();
      // Nothing else may have to be asked of it.
      if (ms > 0)
        http.open('health.show', {}).then(
          (answer) => answer.resume(),
          () => undefined,
        );
      return ms < UNREACHED_MS;
    },
    doubted: () => doubted && !http.answered,
    createSandbox: async (request) => void (await http.call('sandbox.create', request)),
    claimSandbox: async (request) => void (await http.call('sandbox.claim', request, { again: false })),
    deleteSandbox: ({ sandboxId, ...request }) =>
      unlessLost(http.call('sandbox.delete', { ...request, sandboxId: sandboxId || request.workspaceId })),
    sweep: ({ keep }) => unlessLost(http.call('sandbox.sweep', { keep })),
    command: (request) => reattach(request, 0),
    reattach,
    acknowledge: acks.add,
    cancel: (request) => unlessLost(http.call('command.cancel', request)),
    decide: ({ decision, ...request }) =>
      unlessLost(http.call('approval.decide', { ...request, ...decision })),
    // A runner elsewhere tells it with its heartbeat.
    onSandboxEnded: () => undefined,
    files: createHttpFiles(http),
    snapshot: async (request) => soundSnapshot(await http.call('workspace.snapshot', request)),
    restore: async (request) => void (await http.call('workspace.restore', request)),
    lost() {
      http.close();
      acks.close();
    },
  };
}

async function* eventsOf(
  response: IncomingMessage,
  after: number,
  came: (bytes: number) => void,
): AsyncGenerator<CommandEvent> {
  const events = createCommandEvents(after);
  let ended = false;
  try {
    for await (const chunk of response.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      came(chunk.length);
      for (const event of events.push(chunk)) {
        ended ||= event.kind === 'end';
        yield event;
      }
    }
  } catch (error) {
    if (error instanceof AtollError) throw error;
    throw new AtollError('runner_unreachable', 'the stream broke off', { cause: error });
  } finally {
    if (ended) readOut(response);
    else response.destroy();
  }
}

/** What is behind the last event, so that the connection serves the next command, too. */
function readOut(response: IncomingMessage): void {
  const late = setTimeout(() => response.destroy(), LAST_MS);
  response.once('close', () => clearTimeout(late)).resume();
}

function isUnreachable(error: unknown): boolean {
  return error instanceof AtollError && error.code === 'runner_unreachable';
}

function isStopping(error: unknown): boolean {
  return error instanceof AtollError && error.code === 'shutting_down';
}

/** What is to be gone is gone with the runner. */
async function unlessLost(done: Promise<unknown>): Promise<void> {
  try {
    await done;
  } catch (error) {
    if (!(error instanceof AtollError && error.code === 'runner_lost')) throw error;
  }
}

function createHttpFiles(http: RunnerHttp): SandboxFiles {
  return {
    async read({ workspaceId, path, range }): Promise<FileContent> {
      const response = await http.persist(() => http.open('files.read', { workspaceId, path, ...range }));
      const { headers } = response;
      return {
        sizeBytes: Number(headers['atoll-size-bytes']),
        contentBytes: Number(headers['content-length']),
        modifiedAt: new Date(headers['last-modified'] ?? 0).toISOString(),
        content: response,
      };
    },
    async write({ workspaceId, path, content }) {
      const headers = { 'content-type': 'application/octet-stream' };
      const response = await http.open('files.write', { workspaceId, path }, { content, headers });
      const text = Buffer.concat(await Array.fromAsync(response as AsyncIterable<Buffer>)).toString();
      const { sizeBytes, created } = JSON.parse(text) as { sizeBytes: number; created: boolean };
      return { sizeBytes, created };
    },
    remove: async (request) => void (await http.call('files.delete', request, { again: false })),
    list: (request) => http.call('files.list', request),
  };
}
