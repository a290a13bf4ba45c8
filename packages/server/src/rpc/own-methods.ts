/** The methods of `workerMethods`: what the worker answers beyond the operations, or in another way than they do. */
import type { OperationParams } from '@atoll/protocol/operations';
import { type Hello, type WorkerMethodName, workerMethods } from '@atoll/protocol/worker-methods';
import type { Context, Handlers } from '../routes/handler.ts';
import { createFileMethods, type FileMethod } from './files.ts';
import { readParams } from './params.ts';
import type { Subscriptions } from './subscriptions.ts';

/** `begin`: what starts once the answer is out. */
export type Called = { result: unknown; begin?: (() => void) | undefined };
type OwnMethod = (params: Record<string, unknown>, context: Context) => Promise<Called>;

export type OwnMethods = {
  find(name: string): OwnMethod | undefined;
  /** Drops the files that are not whole. */
  close(): void;
};

export function createOwnMethods(options: {
  hello: Hello;
  /** Resolves when it is loaded. What needs none of it is answered before. */
  api: () => Promise<{ handlers: Handlers }>;
  subscriptions: Subscriptions;
}): OwnMethods {
  const { hello, api, subscriptions } = options;
  let made: ReturnType<typeof createFileMethods> | undefined;

  async function files() {
    const { handlers } = await api();
    made ??= createFileMethods(handlers);
    return made.methods;
  }

  const piece =
    (name: FileMethod): OwnMethod =>
    async (params, context) => ({ result: await (await files())[name](params, context) });

  const stateAt: OwnMethod = async (params, context) => {
    const { createStateAt } = await import('./state-at.ts');
    return { result: await createStateAt((await api()).handlers)(params, context) };
  };

  const methods: Readonly<Record<WorkerMethodName, OwnMethod>> = {
    async ping(params) {
      readParams(workerMethods.ping.params, params);
      return { result: 'pong' };
    },
    async initialize(params) {
      readParams(workerMethods.initialize.params, params);
      return { result: hello };
    },
    async 'rpc.discover'(params) {
      readParams(workerMethods['rpc.discover'].params, params);
      const { discover } = await import('./discover.ts');
      return { result: discover(hello.version) };
    },
    state_at: stateAt,
    'Temporal.StateAt': stateAt,
    async 'session.subscribe'(params, context) {
      const wanted = readParams(workerMethods['session.subscribe'].params, params);
      const { handlers } = await api();
      const stream = (given: OperationParams<'session.events'>, signal: AbortSignal) =>
        handlers['session.events'].stream(given, { ...context, signal });
      return subscriptions.open(wanted, stream);
    },
    async 'session.unsubscribe'(params) {
      const { sessionId } = readParams(workerMethods['session.unsubscribe'].params, params);
      return { result: subscriptions.close(sessionId) };
    },
    'session.files.read': piece('session.files.read'),
    'session.files.write': piece('session.files.write'),
    'sandbox.files.read': piece('sandbox.files.read'),
    'sandbox.files.write': piece('sandbox.files.write'),
  };

  return {
    find: (name) => (Object.hasOwn(methods, name) ? methods[name as WorkerMethodName] : undefined),
    close: () => made?.close(),
  };
}
