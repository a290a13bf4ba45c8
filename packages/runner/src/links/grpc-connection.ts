/**
 * A runner's connection to a coordinator that it dials: one stream at a time. When one breaks, the next goes on with the
 * same registration while its lease runs; whoever waits for an answer hears that it broke, and asks again.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { type ByteChannel, createByteChannel } from '@atoll/protocol/byte-channel';
import { AtollError } from '@atoll/protocol/errors';
import {
  type CoordinatorMessages,
  chunkOf,
  type Decoded,
  pieceOf,
  type RunnerMessages,
} from '@atoll/protocol/grpc-messages';
import type { TokenSource } from '../coordinator/renewed.ts';
import type { Logger } from '../logger.ts';
import type { GrpcService } from './grpc-service.ts';
import { dial, type GrpcStream, type GrpcTarget, unreachable } from './grpc-stream.ts';
import type { LeaseRequests } from './registration.ts';

export type GrpcConnection = {
  /** As a registration asks for its lease. */
  readonly requests: LeaseRequests;
  /** Where the coordinator's HTTP API is. Resolves with the first registration. */
  readonly apiUrl: Promise<string>;
  /** What is asked of the runner; nothing is, before it is registered. */
  serve(service: GrpcService): void;
  /** A blob by its hash; not verified. Rejects as the coordinator answers, or with `coordinator_unreachable`. */
  get(op: BlobKind, of: { tenant: string; hash: string }): Promise<Uint8Array>;
  put(of: { tenant: string; hash: string; content: Uint8Array }): Promise<void>;
  close(): void;
};

type BlobKind = 'manifest' | 'agent_file' | 'snapshot_get';
type Registered = CoordinatorMessages['registered'];
type Renewed = CoordinatorMessages['leaseRenewed'];
type OpenBlob = { answer: PromiseWithResolvers<void>; channel: ByteChannel };

const DIAL_MS = 5_000;
const ANSWER_MS = 10_000;
const AGAIN_MS = 200;
const MAX_AGAIN_MS = 2_000;

export function createGrpcConnection(options: {
  target: GrpcTarget;
  tokens: TokenSource;
  logger: Logger;
}): GrpcConnection {
  const { target, tokens, logger } = options;
  const apiUrl = Promise.withResolvers<string>();
  const served = Promise.withResolvers<GrpcService>();
  const blobs = new Map<string, OpenBlob>();
  let description: Partial<RunnerMessages['register']> = {};
  let registrationId = '';
  let stream: GrpcStream | undefined;
  /** The latest, whether or not it is answered yet. */
  let dialled: GrpcStream | undefined;
  /** The token of the latest stream, and one that was turned down. */
  let shown = '';
  let refused: string | undefined;
  let connecting: Promise<Registered> | undefined;
  let renewed = Promise.withResolvers<Renewed>();
  let blobIds = 0;
  let closed = false;
  apiUrl.promise.catch(() => undefined);

  /** Dials and registers, or goes on with the registration that there is. */
  function connect(): Promise<Registered> {
    connecting ??= register().finally(() => {
      connecting = undefined;
    });
    return connecting;
  }

  /** A token that is turned down is replaced where there can be another. */
  async function register(): Promise<Registered> {
    shown = await tokens.token(refused);
    try {
      return await registerWith(shown);
    } catch (error) {
      if (!(error instanceof AtollError && error.code === 'unauthorized')) throw error;
      refused = shown;
      shown = await tokens.token(refused);
      if (shown === refused) throw error;
      return registerWith(shown);
    }
  }

  async function registerWith(token: string): Promise<Registered> {
    if (closed) throw new AtollError('shutting_down');
    const answered = Promise.withResolvers<Registered>();
    answered.promise.catch(() => undefined);
    let service: GrpcService | undefined;
    /** What comes in the same breath as the answer. */
    const early: Decoded<CoordinatorMessages>[] = [];
    const opened = await dial(target, token, (message) => {
      if (message.message === 'registered' && message.registered) answered.resolve(message.registered);
      else if (service) take(message, opened, service);
      else early.push(message);
    });
    opened.signal.addEventListener('abort', () => {
      answered.reject(opened.signal.reason);
      broke(opened);
    });
    dialled = opened;
    if (closed) opened.close();
    const late = setTimeout(() => answered.reject(unreachable(target.server, 'no answer in 5 s')), DIAL_MS);
    try {
      void opened.send({ register: { ...description, registrationId } });
      const registered = await answered.promise;
      opened.signal.throwIfAborted();
      registrationId = registered.registrationId;
      apiUrl.resolve(registered.apiUrl);
      stream = opened;
      service = await served.promise;
      service.attach(opened);
      for (const message of early) take(message, opened, service);
      return registered;
    } catch (error) {
      opened.close();
      if (error instanceof AtollError && error.code === 'stale_epoch') registrationId = '';
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  function take(message: Decoded<CoordinatorMessages>, from: GrpcStream, service: GrpcService): void {
    if (message.message === 'leaseRenewed' && message.leaseRenewed) renewed.resolve(message.leaseRenewed);
    else if (message.message === 'blobAnswer' && message.blobAnswer) {
      const { requestId, cause, detail } = message.blobAnswer;
      const { answer } = blobs.get(requestId) ?? {};
      if (cause === '') answer?.resolve();
      else answer?.reject(blobFailure({ cause, detail }));
    } else if (message.message === 'blobChunk' && message.blobChunk) {
      blobs.get(message.blobChunk.requestId)?.channel.onPiece(pieceOf(message.blobChunk, blobFailure));
    } else if (message.message === 'window' && message.window && blobs.has(message.window.requestId))
      blobs.get(message.window.requestId)?.channel.onWindow(message.window.bytes);
    else service.receive(message, from);
  }

  /** Whoever waits hears of it; the next stream is dialled at once, and then again and again for a moment. */
  function broke(old: GrpcStream): void {
    if (stream !== old) return;
    stream = undefined;
    const reason = whyBroken(old.signal.reason);
    renewed.promise.catch(() => undefined);
    renewed.reject(reason);
    renewed = Promise.withResolvers();
    for (const { answer, channel } of blobs.values()) {
      answer.promise.catch(() => undefined);
      answer.reject(reason);
      channel.break(reason);
    }
    blobs.clear();
    if (reason.code === 'stale_epoch') registrationId = '';
    else void comeBack();
  }

  /** A token ends before its stream does: the next stream has another, or is refused for good. */
  function whyBroken(reason: AtollError): AtollError {
    if (reason.code !== 'unauthorized') return reason;
    refused = shown;
    return unreachable(target.server, 'the token of the connection is not taken any more');
  }

  async function comeBack(): Promise<void> {
    for (let pauseMs = AGAIN_MS; !closed && !stream && registrationId !== ''; pauseMs *= 2) {
      try {
        await connect();
        return;
      } catch (err) {
        logger.warn({ err }, 'the coordinator is not reached again yet');
        if (pauseMs > MAX_AGAIN_MS) return;
        await delay(pauseMs * (0.5 + Math.random() / 2), undefined, { ref: false });
      }
    }
  }

  async function heartbeat(ended: RunnerMessages['heartbeat']['ended']): Promise<Renewed> {
    if (registrationId === '') throw new AtollError('stale_epoch', 'this registration is over');
    if (!stream) await connect();
    const answer = renewed.promise;
    stream?.send({ heartbeat: { registrationId, ended } });
    // What is answered too late must not be taken for the answer to the next one: the stream ends, and that with it.
    const asked = stream;
    const late = setTimeout(() => asked?.close(), ANSWER_MS);
    try {
      return await answer;
    } finally {
      clearTimeout(late);
      renewed = Promise.withResolvers();
    }
  }

  const requests: LeaseRequests = {
    async register(described) {
      const { incarnation = '', labels } = described;
      description = { ...described, incarnation, labels: { ...labels } };
      registrationId = '';
      stream?.close();
      stream = undefined;
      const { registrationId: id, leaseMs, heartbeatMs } = await connect();
      return { registrationId: id, lease: { leaseMs, heartbeatMs } };
    },
    async heartbeat({ ended }) {
      const told = ended.map(({ sessionId = '', ...rest }) => ({ ...rest, sessionId }));
      const { leaseMs } = await heartbeat(told);
      return { lease: { leaseMs, heartbeatMs: Math.floor(leaseMs / 3) } };
    },
    async deregister() {
      if (registrationId !== '') stream?.send({ deregister: { registrationId } });
      return { sandboxes: (await served.promise).sandboxes };
    },
  };

  function openBlob(op: string, of: { tenant: string; hash: string }): OpenBlob & { requestId: string } {
    const over = stream;
    if (!over) throw unreachable(target.server, 'there is no connection');
    blobIds++;
    const requestId = `blob_${blobIds}`;
    const channel = createByteChannel({
      piece: (piece) => over.send({ blobChunk: chunkOf(requestId, piece) }),
      window: (bytes) => void over.send({ window: { requestId, bytes } }),
    });
    const blob = { answer: Promise.withResolvers<void>(), channel };
    blobs.set(requestId, blob);
    void over.send({ blobRequest: { requestId, op, ...of } });
    return { ...blob, requestId };
  }

  return {
    requests,
    apiUrl: apiUrl.promise,
    serve: served.resolve,
    async get(op, of) {
      const { answer, channel, requestId } = openBlob(op, of);
      try {
        await answer.promise;
        return Buffer.concat(await Array.fromAsync(channel.received));
      } finally {
        blobs.delete(requestId);
      }
    },
    async put({ content, ...of }) {
      const { answer, channel, requestId } = openBlob('snapshot_put', of);
      try {
        await Promise.race([channel.send([content]).then(() => answer.promise), answer.promise]);
      } finally {
        blobs.delete(requestId);
      }
    },
    close() {
      closed = true;
      apiUrl.reject(new AtollError('shutting_down'));
      dialled?.close();
    },
  };
}

function blobFailure({ cause, detail }: { cause: string; detail: string }): AtollError {
  return new AtollError('storage_failed', detail || cause);
}
