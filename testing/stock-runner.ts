/**
 * A runner that is none of ours: a stock gRPC library with the definition of the service. It does what it is told, and
 * nothing by itself.
 */
import { fileURLToPath } from 'node:url';
import {
  type CoordinatorMessages,
  type Decoded,
  type RunnerMessages,
  runnerProto,
} from '@atoll/protocol/grpc-messages';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

export type Incoming = Decoded<CoordinatorMessages>;
export type StockCall = grpc.ClientDuplexStream<object, Incoming>;

const definition = loadSync(fileURLToPath(runnerProto), { longs: Number, defaults: true, oneofs: true });
const service = definition['atoll.runner.v1.RunnerService'] as grpc.ServiceDefinition;
const RunnerService = grpc.makeClientConstructor(service, 'RunnerService');

/** A connection of its own, and the one call on it. `serialize`: instead of what the definition says. */
export function connectStock(
  grpcUrl: string,
  key: string,
  serialize?: (message: object) => Buffer,
): { call: StockCall; close(): void } {
  const { Connect } = service;
  const Service =
    serialize && Connect
      ? grpc.makeClientConstructor({ Connect: { ...Connect, requestSerialize: serialize } }, 'RunnerService')
      : RunnerService;
  const client = new Service(new URL(grpcUrl).host, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${key}`);
  const connect = client.Connect?.bind(client) as unknown as (of: grpc.Metadata) => StockCall;
  const call = connect(metadata);
  return {
    call,
    close() {
      call.cancel();
      client.close();
    },
  };
}

/** What a runner of that name may say of itself; it has to say no more. */
export function registerMessage(runnerId: string): Omit<RunnerMessages['register'], 'incarnation'> {
  return {
    runnerId,
    address: 'elsewhere',
    capacity: 2,
    labels: { stranger: 'yes' },
    executorProfiles: ['program'],
    drivers: ['imagined'],
    hostname: 'elsewhere',
    version: '9.9.9',
    protocolVersion: 1,
    registrationId: '',
    callbackToken: `secret-of-${runnerId}-1234`,
  };
}

export class StockRunner {
  readonly call: StockCall;
  /** With why it was refused; undefined: the coordinator ended the stream. */
  readonly ended: Promise<grpc.ServiceError | undefined>;
  readonly close: () => void;
  #got: Incoming[] = [];
  #wake = Promise.withResolvers<void>();

  constructor(grpcUrl: string, key: string) {
    const { call, close } = connectStock(grpcUrl, key);
    this.call = call;
    this.close = close;
    call.on('data', (message: Incoming) => {
      this.#got.push(message);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    });
    this.ended = new Promise((resolve) => {
      call.on('error', (error: grpc.ServiceError) => resolve(error));
      call.on('end', () => resolve(undefined));
    });
  }

  /** Whatever it is: the definition is all that checks it. */
  say(message: object): void {
    this.call.write(message);
  }

  /** The next message of that kind; others before it are passed over. */
  async next<N extends keyof CoordinatorMessages>(kind: N): Promise<CoordinatorMessages[N]> {
    for (;;) {
      const at = this.#got.findIndex(({ message }) => message === kind);
      const [found] = at === -1 ? [] : this.#got.splice(0, at + 1).slice(-1);
      if (found) return found[kind] as CoordinatorMessages[N];
      await this.#wake.promise;
    }
  }

  async register(
    runnerId: string,
    more: Partial<RunnerMessages['register']> = {},
  ): Promise<CoordinatorMessages['registered']> {
    this.say({ register: { ...registerMessage(runnerId), ...more } });
    return this.next('registered');
  }
}
