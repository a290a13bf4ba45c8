/** OpenRPC 1.3 (https://spec.open-rpc.org) of what `atoll worker` answers: the operations, and the worker's own methods. */
import { jsonSchema } from './openapi.ts';
import { isMethod, type Operation } from './operation.ts';
import type { WorkerMethod } from './worker-methods.ts';

type Json = Record<string, unknown>;
type Declared = Pick<Operation, 'summary' | 'params' | 'result'>;

/** Where both tables have a name, the worker's own counts. */
export function openRpc(options: {
  title: string;
  version: string;
  operations: Readonly<Record<string, Operation>>;
  own: Readonly<Record<string, WorkerMethod>>;
}): Json {
  const served = Object.entries(options.operations).filter(([, operation]) => isMethod(operation));
  const methods: Readonly<Record<string, Declared>> = { ...Object.fromEntries(served), ...options.own };
  return {
    openrpc: '1.3.2',
    info: { title: options.title, version: options.version, license: { name: 'Apache-2.0' } },
    methods: Object.entries(methods).map(([name, declared]) => describeMethod(name, declared)),
  };
}

function describeMethod(name: string, { summary, params, result }: Declared): Json {
  const schema = jsonSchema(params);
  const required = new Set((schema.required ?? []) as string[]);
  const properties = Object.entries((schema.properties ?? {}) as Record<string, Json>);
  return {
    name,
    summary,
    paramStructure: 'by-name',
    params: properties.map(([param, of]) => ({ name: param, required: required.has(param), schema: of })),
    // OpenRPC has no word of its own for params that may have any name.
    ...(params.type === 'loose_object' ? { 'x-additional-params': true } : {}),
    result: { name: 'result', schema: jsonSchema(result) },
  };
}
