/**
 * One call of a runner to its coordinator: dialled, written with backpressure, over when either side says so or the
 * connection breaks.
 */

import { AtollError, asAtollError, isErrorCode } from '@atoll/protocol/errors';
import {
  type CoordinatorMessages,
  type Decoded,
  MAX_MESSAGE_BYTES,
  type OneOf,
  type RunnerMessages,
  runnerProto,
} from '@atoll/protocol/grpc-messages';
import type { ClientDuplexStream, ServiceClientConstructor } from '@grpc/grpc-js';

export type GrpcTarget = {
  /** `grpc://HOST:PORT`, or `grpcs://` for TLS. */
  server: string;
  tls: { ca: Buffer | undefined; cert: Buffer | undefined; key: Buffer | undefined };
};

/** One of runner.proto, or its bytes. */
export type RunnerMessage = OneOf<RunnerMessages> | Buffer;

export type GrpcStream = {
  /** Resolves when there is room for more; undefined: there is. Nothing happens when the stream is over. */
  send(message: RunnerMessage): Promise<void> | undefined;
  /** Aborts when it is over, with why as its reason: an AtollError. */
  readonly signal: AbortSignal;
  close(): void;
};

const KEEPALIVE_MS = 10_000;

type Call = ClientDuplexStream<RunnerMessage, Decoded<CoordinatorMessages>>;
type Library = { grpc: typeof import('@grpc/grpc-js'); Client: ServiceClientConstructor };

let library: Promise<Library> | undefined;

async function load(): Promise<Library> {
  const grpc = await import('@grpc/grpc-js');
  const { loadSync } = await import('@grpc/proto-loader');
  const { fileURLToPath } = process.getBuiltinModule('node:url');
  const definition = loadSync(fileURLToPath(runnerProto), { longs: Number, defaults: true, oneofs: true });
  const service = definition['atoll.runner.v1.RunnerService'] as import('@grpc/grpc-js').ServiceDefinition;
  const { Connect } = service;
  if (!Connect) throw new Error('runner.proto has no Connect');
  const requestSerialize = (message: RunnerMessage) =>
    Buffer.isBuffer(message) ? message : Connect.requestSerialize(message);
  return {
    grpc,
    Client: grpc.makeClientConstructor(
      { ...service, Connect: { ...Connect, requestSerialize } },
      'RunnerService',
    ),
  };
}

/** Begins the call; whether anybody is there shows when the first message arrives, or the signal aborts. */
export async function dial(
  { server, tls }: GrpcTarget,
  token: string,
  onMessage: (message: Decoded<CoordinatorMessages>) => void,
): Promise<GrpcStream> {
  library ??= load();
  const { grpc, Client } = await library;
  const { protocol, host } = new URL(server);
  const credentials =
    protocol === 'grpcs:'
      ? grpc.credentials.createSsl(tls.ca ?? null, tls.key ?? null, tls.cert ?? null)
      : grpc.credentials.createInsecure();
  const client = new Client(host, credentials, {
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_MS,
    'grpc.keepalive_permit_without_calls': 1,
    // Another dial is another client: none waits for an earlier one's pauses.
    'grpc.use_local_subchannel_pool': 1,
  });
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const connect = client.Connect?.bind(client) as unknown as (of: typeof metadata) => Call;
  const call = connect(metadata);
  const over = new AbortController();
  let drained: PromiseWithResolvers<void> | undefined;

  function end(error: AtollError): void {
    if (over.signal.aborted) return;
    over.abort(error);
    drained?.resolve();
    call.cancel();
    client.close();
  }

  call.on('data', (message: Decoded<CoordinatorMessages>) => {
    try {
      onMessage(message);
    } catch (error) {
      end(asAtollError(error));
    }
  });
  call.on('drain', () => {
    drained?.resolve();
    drained = undefined;
  });
  call.on('error', (error) => end(refusalOf(error, server)));
  call.on('end', () => end(unreachable(server, 'it closed the connection')));

  return {
    send(message) {
      if (over.signal.aborted) return undefined;
      if (call.write(message)) return undefined;
      drained ??= Promise.withResolvers<void>();
      return drained.promise;
    },
    signal: over.signal,
    close: () => end(new AtollError('cancelled')),
  };
}

export function unreachable(server: string, reason: string): AtollError {
  return new AtollError('coordinator_unreachable', `cannot reach ${server}: ${reason}`);
}

/** The coordinator's own code stands in the metadata; anything else is of the connection. */
function refusalOf(error: Error, server: string): AtollError {
  const details = 'details' in error && typeof error.details === 'string' ? error.details : error.message;
  const metadata = 'metadata' in error ? error.metadata : undefined;
  const [code] = isMetadata(metadata) ? metadata.get('atoll-code') : [];
  if (typeof code === 'string' && isErrorCode(code) && code !== 'shutting_down')
    return new AtollError(code, details.replace(`${code}: `, ''), { cause: error });
  return unreachable(server, reasonIn(details));
}

/** The library wraps why a connection was not made in a sentence of its own. */
function reasonIn(details: string): string {
  return /Last error: (?:Error: )?(.*?)\.? Resolution note:/s.exec(details)?.[1] ?? details;
}

function isMetadata(value: unknown): value is { get(name: string): unknown[] } {
  return typeof value === 'object' && value !== null && 'get' in value && typeof value.get === 'function';
}
