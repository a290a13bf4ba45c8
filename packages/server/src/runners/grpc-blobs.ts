/** Agent folders and snapshots for one runner that dialled in: each blob is a request with its own flow of bytes. */
import { type ByteChannel, createByteChannel } from '@atoll/protocol/byte-channel';
import { AtollError, asAtollError } from '@atoll/protocol/errors';
import { chunkOf, pieceOf, type RunnerMessages } from '@atoll/protocol/grpc-messages';
import { internalOperations } from '@atoll/protocol/internal-operations';
import { parse } from '@atoll/protocol/parse';
import type { AgentSource, SnapshotBlobs } from '@atoll/protocol/runner-link';
import { gatherBlob } from '../gather-blob.ts';
import type { Access } from '../keys/access.ts';
import type { RunnerStream } from './grpc-link.ts';

export type BlobSources = { agents: AgentSource; snapshots: SnapshotBlobs };

const MAX_BLOBS = 64;

export type BlobServer = {
  ask(request: RunnerMessages['blobRequest']): void;
  chunk(chunk: RunnerMessages['blobChunk']): void;
  /** Whether it is one of these. */
  window(requestId: string, bytes: number): boolean;
  close(): void;
};

export function createBlobServer(
  { agents, snapshots }: BlobSources,
  access: Access,
  stream: Pick<RunnerStream, 'send'>,
): BlobServer {
  const channels = new Map<string, ByteChannel>();

  function channelOf(requestId: string): ByteChannel {
    const channel = createByteChannel({
      piece: (piece) => stream.send({ blobChunk: chunkOf(requestId, piece) }),
      window: (bytes) => stream.send({ window: { requestId, bytes } }),
    });
    channels.set(requestId, channel);
    return channel;
  }

  async function answer(
    { requestId, op, tenant, hash }: RunnerMessages['blobRequest'],
    channel: ByteChannel,
  ): Promise<void> {
    const where = parse(internalOperations['snapshot.blob.get'].params, { tenant, hash });
    if (!access.may(where.tenant)) throw new AtollError('not_found', `no blob ${hash}`);
    if (op === 'snapshot_put') {
      const content = await gatherBlob(channel.received);
      const stored = await snapshots.put({ tenant, content });
      if (stored !== hash) throw new AtollError('invalid_request', `what came is ${stored}, not ${hash}`);
      stream.send({ blobAnswer: { requestId, cause: '', detail: '', sizeBytes: content.length } });
      return;
    }
    const content = await found(op, where);
    stream.send({ blobAnswer: { requestId, cause: '', detail: '', sizeBytes: content.length } });
    await channel.send([content]);
  }

  async function found(op: string, where: { tenant: string; hash: string }): Promise<Uint8Array> {
    if (op === 'manifest') return Buffer.from(JSON.stringify(await agents.manifest(where)));
    if (op === 'agent_file') return agents.file(where);
    if (op === 'snapshot_get') return snapshots.get(where);
    throw new AtollError('invalid_request', `a blob request of the kind ${op.slice(0, 100)}`);
  }

  return {
    ask(request) {
      const { requestId } = request;
      if (channels.size >= MAX_BLOBS || channels.has(requestId))
        throw new AtollError(
          'too_many_requests',
          `at most ${MAX_BLOBS} blobs at a time, each with its own id`,
        );
      const channel = channelOf(requestId);
      answer(request, channel)
        .catch((error: unknown) => {
          const { code, detail } = asAtollError(error);
          stream.send({ blobAnswer: { requestId, cause: code, detail, sizeBytes: 0 } });
        })
        .finally(() => channels.delete(requestId));
    },
    chunk(chunk) {
      const piece = pieceOf(chunk, ({ detail }) => new AtollError('cancelled', detail));
      if (channels.get(chunk.requestId)?.onPiece(piece) === false)
        throw new AtollError('invalid_request', 'a blob chunk beyond its window');
    },
    window(requestId, bytes) {
      const channel = channels.get(requestId);
      channel?.onWindow(bytes);
      return channel !== undefined;
    },
    close() {
      for (const channel of channels.values()) channel.break(new AtollError('cancelled'));
      channels.clear();
    },
  };
}
