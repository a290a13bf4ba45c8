/** Files of a runner that dialled in: each call is a request with its own flow of bytes, and ends with its stream. */
import { type ByteChannel, createByteChannel } from '@atoll/protocol/byte-channel';
import { AtollError } from '@atoll/protocol/errors';
import {
  type CoordinatorMessages,
  chunkOf,
  type OneOf,
  pieceOf,
  type RunnerMessages,
} from '@atoll/protocol/grpc-messages';
import type { FileContent, SandboxFiles } from '@atoll/protocol/runner-link';
import { failureOf } from './grpc-events.ts';

export type GrpcFiles = {
  readonly calls: SandboxFiles;
  /** Whoever waits for an answer gets this. */
  break(error: AtollError): void;
  readonly receivers: {
    [N in 'fileAnswer' | 'fileChunk' | 'window']: (message: RunnerMessages[N]) => void;
  };
};

type Request = Partial<CoordinatorMessages['fileRequest']>;
type Answer = RunnerMessages['fileAnswer'];
type OpenFile = { answer: PromiseWithResolvers<Answer>; channel: ByteChannel };

export function createGrpcFiles(options: {
  /** Resolves when there is a stream; rejects when there will be none. */
  connected: () => Promise<void>;
  send: (message: OneOf<CoordinatorMessages>) => void;
}): GrpcFiles {
  const { connected, send } = options;
  const files = new Map<string, OpenFile>();
  let ids = 0;

  async function open(request: Request): Promise<OpenFile & { requestId: string }> {
    await connected();
    ids++;
    const requestId = `file_${ids}`;
    const channel = createByteChannel({
      piece: (piece) => send({ fileChunk: chunkOf(requestId, piece) }),
      window: (bytes) => send({ window: { requestId, bytes } }),
    });
    const file = { answer: Promise.withResolvers<Answer>(), channel };
    files.set(requestId, file);
    send({ fileRequest: { ...request, requestId } });
    return { ...file, requestId };
  }

  async function ask(request: Request): Promise<Answer> {
    const file = await open(request);
    try {
      return await answered(file);
    } finally {
      files.delete(file.requestId);
    }
  }

  function cancel(requestId: string): void {
    const fileChunk = { requestId, bytes: new Uint8Array(0), last: true, cause: 'cancelled', detail: '' };
    send({ fileChunk });
  }

  return {
    calls: {
      async read({ workspaceId, path, range }): Promise<FileContent> {
        const { offset = 0, length } = range ?? {};
        const bounded = length === undefined || length === Number.MAX_SAFE_INTEGER ? {} : { length };
        const file = await open({ op: 'read', workspaceId, path, offset, ...bounded });
        const { requestId } = file;
        try {
          const { sizeBytes, contentBytes, modifiedAt } = await answered(file);
          const content = leaving(file.channel.received, (early) => {
            files.delete(requestId);
            if (early) cancel(requestId);
          });
          return { sizeBytes, contentBytes, modifiedAt, content };
        } catch (error) {
          files.delete(requestId);
          throw error;
        }
      },
      async write({ workspaceId, path, content }) {
        const file = await open({ op: 'write', workspaceId, path });
        try {
          // The runner may answer before it took everything; then its answer counts.
          const sent = file.channel.send(content).then(() => file.answer.promise);
          const { sizeBytes, created } = sound(await Promise.race([file.answer.promise, sent]));
          return { sizeBytes, created };
        } finally {
          file.channel.break(new AtollError('cancelled'));
          files.delete(file.requestId);
        }
      },
      remove: async (request) => void (await ask({ op: 'remove', ...request })),
      async list({ workspaceId, prefix = '', limit, cursor = '' }) {
        const { files: found, nextCursor } = await ask({ op: 'list', workspaceId, prefix, limit, cursor });
        return {
          files: found.map((file) => ({ ...file, type: fileType(file.type) })),
          nextCursor: nextCursor === '' ? null : nextCursor,
        };
      },
    },
    break(error) {
      for (const { answer, channel } of files.values()) {
        answer.promise.catch(() => undefined);
        answer.reject(error);
        channel.break(error);
      }
      files.clear();
    },
    receivers: {
      fileAnswer: (answer) => files.get(answer.requestId)?.answer.resolve(answer),
      fileChunk(chunk) {
        const inTurn = files.get(chunk.requestId)?.channel.onPiece(pieceOf(chunk, failureOf));
        if (inTurn === false) throw new AtollError('invalid_request', 'a file chunk beyond its window');
      },
      window: ({ requestId, bytes }) => files.get(requestId)?.channel.onWindow(bytes),
    },
  };
}

async function answered({ answer }: OpenFile): Promise<Answer> {
  return sound(await answer.promise);
}

function sound(answer: Answer): Answer {
  if (answer.cause !== '') throw failureOf(answer);
  return answer;
}

function fileType(type: string): 'file' | 'directory' | 'symlink' | 'other' {
  return type === 'file' || type === 'directory' || type === 'symlink' ? type : 'other';
}

/** Tells once that it was read to its end, or left early, which it may be before its first piece. */
function leaving(
  content: AsyncIterable<Uint8Array>,
  left: (early: boolean) => void,
): AsyncIterableIterator<Uint8Array> {
  const pieces = content[Symbol.asyncIterator]();
  let done = false;
  const leave = (early: boolean) => {
    if (!done) left(early);
    done = true;
  };
  return {
    async next() {
      if (done) return { done: true, value: undefined };
      try {
        const piece = await pieces.next();
        if (piece.done) leave(false);
        return piece;
      } catch (error) {
        leave(true);
        throw error;
      }
    },
    async return() {
      leave(true);
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
