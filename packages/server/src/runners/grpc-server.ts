/**
 * Where runners dial in: one stream each, by the definition of runner.proto. The first message registers; from then on
 * the stream is the runner's link. A runner that says what it may not ends its own stream, and nothing else.
 */
import { AtollError } from '@atoll/protocol/errors';
import {
  type CoordinatorMessages,
  type Decoded,
  MAX_MESSAGE_BYTES,
  type OneOf,
  type RunnerMessages,
  runnerProto,
} from '@atoll/protocol/grpc-messages';
import { internalOperations } from '@atoll/protocol/internal-operations';
import { parse } from '@atoll/protocol/parse';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Access } from '../keys/access.ts';
import { refuseUnlessAllowed } from '../keys/access.ts';
import type { Recognise } from '../keys/recognise.ts';
import type { Logger } from '../logger.ts';
import type { GrpcOptions } from '../server-options.ts';
import { type BlobSources, createBlobServer } from './grpc-blobs.ts';
import { createGrpcLink, type GrpcLink, type Incoming, type RunnerStream } from './grpc-link.ts';
import { widenWindows } from './grpc-windows.ts';
import type { Registrations } from './registrations.ts';

export type { RemoteLink } from './remote-link.ts';

export type GrpcServerOptions = BlobSources & {
  registrations: Pick<Registrations, 'register' | 'heartbeat' | 'deregister'>;
  recognise: Recognise;
  /** Where runners find the HTTP API. */
  apiUrl: string;
  logger: Logger;
};

export type GrpcServer = {
  /** Rejects with a plain Error when the port is taken. Returns the port. */
  listen(at: { host: string; port: number; tls: GrpcOptions['tls'] }): Promise<number>;
  close(): Promise<void>;
};

type Call = ServerDuplexStream<Decoded<RunnerMessages>, OneOf<CoordinatorMessages>>;

const REGISTER_MS = 10_000;
const KEEPALIVE_MS = 10_000;
const MAX_DETAIL_CHARS = 2_000;
/** Of one connection: a runner has one, and the next one while the first is not known to be dead. */
const MAX_STREAMS = 8;
/** A runner that reads takes them as they are written. */
const MAX_UNREAD_MESSAGES = 10_000;

const linkMessages: readonly string[] = [
  'inventory',
  'jobUpdate',
  'eventBatch',
  'commandOutput',
  'approvalRequest',
  'commandEnd',
  'fileAnswer',
  'fileChunk',
] satisfies (keyof Incoming)[];

export async function createGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const { registrations, recognise, logger } = options;
  const grpc = await import('@grpc/grpc-js');
  const { loadSync } = await import('@grpc/proto-loader');
  const { fileURLToPath } = process.getBuiltinModule('node:url');
  const definition = loadSync(fileURLToPath(runnerProto), { longs: Number, defaults: true, oneofs: true });
  const service = definition['atoll.runner.v1.RunnerService'] as import('@grpc/grpc-js').ServiceDefinition;
  const server = new grpc.Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_concurrent_streams': MAX_STREAMS,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_MS,
  });
  const windows = widenWindows();
  /** The link of each registration: a runner that comes back within its lease goes on with it. */
  const links = new Map<string, { link: GrpcLink; callbackToken: string }>();
  const open = new Set<Call>();

  server.addService(service, {
    Connect: (call: Call) => {
      open.add(call);
      serve(call)
        .catch((error: unknown) => end(call, refusalOf(error)))
        .finally(() => open.delete(call));
    },
  });

  function refusalOf(error: unknown): AtollError {
    if (error instanceof AtollError) return error;
    logger.error({ err: error }, 'a runner could not be served');
    return new AtollError('internal');
  }

  function end(call: Call, { code, detail }: AtollError): void {
    const status = statusOf(code, grpc.status);
    const metadata = new grpc.Metadata();
    metadata.set('atoll-code', code);
    // Half a character, which a runner may have said, is more than gRPC can write.
    const details = `${code}: ${detail}`.slice(0, MAX_DETAIL_CHARS).toWellFormed();
    call.emit('error', { code: status, details, metadata });
  }

  /** Resolves when the stream is over; rejects with why it is refused. */
  async function serve(call: Call): Promise<void> {
    const over = Promise.withResolvers<void>();
    const fail = (error: unknown) => over.reject(error);
    let conversation: Conversation | undefined;
    const isOver = () => ended;
    let ended = false;
    const late = setTimeout(
      () => fail(new AtollError('request_timeout', 'the first message has to be Register')),
      REGISTER_MS,
    );
    call.on('error', () => over.resolve());
    call.on('cancelled', () => over.resolve());
    call.on('end', () => over.resolve());
    over.promise
      .catch(() => undefined)
      .finally(() => {
        ended = true;
      });
    // Before that nothing is read.
    const access = await authenticate(call);
    // Messages come in order, and those after Register wait for its answer.
    let before: Promise<unknown> = Promise.resolve();
    call.on('data', (message: Decoded<RunnerMessages>) => {
      if (conversation && message.message !== 'heartbeat') {
        try {
          conversation.take(message);
        } catch (error) {
          fail(error);
        }
        return;
      }
      call.pause();
      before = before
        .then(async () => {
          if (conversation && message.message !== 'heartbeat') return conversation.take(message);
          if (!conversation) {
            conversation = await begin(call, access, message, isOver);
            clearTimeout(late);
            return;
          }
          // A key that was revoked opens nothing any more.
          await authenticate(call);
          await conversation.heartbeat(message);
        })
        .catch(fail)
        .finally(() => call.resume());
    });
    try {
      await over.promise;
      call.end();
    } finally {
      clearTimeout(late);
      conversation?.close();
    }
  }

  async function authenticate(call: Call): Promise<Access> {
    const [given = ''] = call.metadata.get('authorization');
    const secret = /^Bearer (\S+)$/i.exec(String(given))?.[1];
    if (secret === undefined)
      throw new AtollError('unauthorized', 'send an API key as metadata, authorization: Bearer …');
    const access = await recognise(secret);
    refuseUnlessAllowed(access, { role: 'runner' });
    return access;
  }

  async function begin(
    call: Call,
    access: Access,
    { message, register }: Decoded<RunnerMessages>,
    isOver: () => boolean,
  ): Promise<Conversation> {
    if (message !== 'register' || !register)
      throw new AtollError('invalid_request', 'the first message has to be Register');
    const { registrationId: earlier, incarnation, ...said } = register;
    const asked = parse(internalOperations['runner.register'].params, {
      ...said,
      ...(incarnation === '' ? {} : { incarnation }),
      address: said.address || 'grpc',
    });
    const stream: RunnerStream = {
      send(outgoing) {
        if (call.writableLength > MAX_UNREAD_MESSAGES)
          call.emit('error', new Error('the runner does not read'));
        else call.write(outgoing);
      },
      end: () => end(call, new AtollError('cancelled', 'the runner is connected by another stream')),
    };
    const { runnerId, callbackToken } = asked;
    const known = links.get(earlier);
    if (known && known.callbackToken !== callbackToken)
      throw new AtollError('already_exists', `runner ${runnerId} is another one, and it is there`);
    let registrationId = earlier;
    let link = known?.link;
    let lease: { leaseMs: number; heartbeatMs: number };
    if (link) ({ lease } = await registrations.heartbeat(access, { runnerId, registrationId, ended: [] }));
    else {
      if (earlier !== '') throw new AtollError('stale_epoch', 'this registration is over: register anew');
      const made = createGrpcLink(runnerId, () => links.delete(registrationId));
      ({ registrationId, lease } = await registrations.register(access, asked, made));
      link = links.get(registrationId)?.link ?? made;
      links.set(registrationId, { link, callbackToken });
    }
    const { leaseMs, heartbeatMs } = lease;
    if (isOver()) throw new AtollError('cancelled', 'the runner left while it was registered');
    stream.send({ registered: { registrationId, leaseMs, heartbeatMs, apiUrl: options.apiUrl } });
    link.attach(stream);
    return converse({ stream, link, access, runnerId, registrationId });
  }

  type Conversation = {
    take(message: Decoded<RunnerMessages>): void;
    heartbeat(message: Decoded<RunnerMessages>): Promise<void>;
    close(): void;
  };

  function converse(of: {
    stream: RunnerStream;
    link: GrpcLink;
    access: Access;
    runnerId: string;
    registrationId: string;
  }): Conversation {
    const { stream, link, access, runnerId, registrationId } = of;
    const blobs = createBlobServer(options, access, stream);
    return {
      take(message) {
        const { message: name } = message;
        if (name === undefined) throw new AtollError('invalid_request', 'a message of an unknown kind');
        if (name === 'window') {
          const { requestId = '' } = message.window ?? {};
          if (!blobs.window(requestId, message.window?.bytes ?? 0) && message.window)
            link.receive('window', message.window);
        } else if (name === 'blobRequest' && message.blobRequest) blobs.ask(message.blobRequest);
        else if (name === 'blobChunk' && message.blobChunk) blobs.chunk(message.blobChunk);
        else if (name === 'deregister')
          registrations.deregister(access, { runnerId, registrationId }).catch((err) => {
            logger.warn({ runnerId, err }, 'a runner could not be drained');
          });
        else if (linkMessages.includes(name)) link.receive(name as keyof Incoming, message[name] as never);
        else throw new AtollError('invalid_request', `${name} does not come here`);
      },
      async heartbeat({ heartbeat }) {
        if (heartbeat?.registrationId !== registrationId)
          throw new AtollError('stale_epoch', 'that is another registration');
        const ended = heartbeat.ended.map(({ sessionId, ...rest }) =>
          sessionId === '' ? rest : { ...rest, sessionId },
        );
        const params = { runnerId, registrationId, ended };
        const checked = parse(internalOperations['runner.heartbeat'].params, params);
        const { lease } = await registrations.heartbeat(access, checked);
        const heard = ended.map(({ sandboxId }) => sandboxId);
        stream.send({ leaseRenewed: { leaseMs: lease.leaseMs, heard } });
      },
      close() {
        blobs.close();
        link.detach(stream);
      },
    };
  }

  return {
    async listen({ host, port, tls }) {
      const { ServerCredentials } = grpc;
      const credentials = tls
        ? ServerCredentials.createSsl(
            tls.clientCa ?? null,
            [{ cert_chain: tls.cert, private_key: tls.key }],
            tls.clientCa !== undefined,
          )
        : ServerCredentials.createInsecure();
      const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
      return new Promise((resolve, reject) => {
        server.bindAsync(address, credentials, (error, bound) => {
          if (error) reject(new Error(`gRPC cannot listen on ${address}: ${error.message}`));
          else resolve(bound);
        });
      });
    },
    async close() {
      for (const call of open) end(call, new AtollError('shutting_down'));
      server.forceShutdown();
      windows[Symbol.dispose]();
    },
  };
}

/** As gRPC clients know it; the code itself is in the metadata `atoll-code`. */
function statusOf(code: string, status: typeof import('@grpc/grpc-js').status): number {
  switch (code) {
    case 'unauthorized':
      return status.UNAUTHENTICATED;
    case 'forbidden':
    case 'forbidden_for_session':
      return status.PERMISSION_DENIED;
    case 'already_exists':
      return status.ALREADY_EXISTS;
    case 'stale_epoch':
    case 'wrong_version':
      return status.FAILED_PRECONDITION;
    case 'invalid_request':
      return status.INVALID_ARGUMENT;
    case 'too_many_requests':
      return status.RESOURCE_EXHAUSTED;
    case 'shutting_down':
      return status.UNAVAILABLE;
    default:
      return status.INTERNAL;
  }
}
