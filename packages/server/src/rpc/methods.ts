/** The operations of the table as methods, each under its own name and with the handler that HTTP has for it, too. */
import { isMethod, type Operation } from '@atoll/protocol/operation';
import { type OperationName, operations } from '@atoll/protocol/operations';
import type { Context, Handlers } from '../routes/handler.ts';
import { type Method, readParams } from './params.ts';

export type Methods = ReadonlyMap<string, Method>;

/** Those that are methods, too. Of a stream, its answer as JSON. */
export function createMethods(handlers: Handlers): Methods {
  const methods = new Map<string, Method>();
  for (const [name, operation] of Object.entries(operations) as [OperationName, Operation][]) {
    if (!isMethod(operation)) continue;
    const answer = answerOf(handlers, name);
    methods.set(name, async (params, context) => answer(readParams(operation.params, params), context));
  }
  return methods;
}

/** `params` are parsed already. */
type Answer = (params: unknown, context: Context) => Promise<unknown>;
type AnyHandler = Answer | { json: Answer };

/** What answers an operation whose body is JSON. */
export function answerOf(handlers: Handlers, name: OperationName): Answer {
  // The table pairs every name with its handler and params; here only the kind matters.
  const handler = handlers[name] as unknown as AnyHandler;
  return 'json' in handler ? handler.json : handler;
}
