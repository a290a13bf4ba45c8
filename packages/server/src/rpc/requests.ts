/**
 * What stands on one line, read as JSON-RPC 2.0 (https://www.jsonrpc.org/specification) has it: one request, or a batch.
 * Narrower than there: params are by name, and an id is a string or a whole number.
 */
import { AtollError } from '@atoll/protocol/errors';
import { RpcError, rpcCodes } from '@atoll/protocol/json-rpc';
import type { Operation } from '@atoll/protocol/operation';
import { operations } from '@atoll/protocol/operations';
import { parseJsonBody } from '../routes/json-body.ts';

export type RpcId = string | number;

export type RpcRequest = {
  /** undefined: a notification. */
  id: RpcId | undefined;
  method: string;
  params: Record<string, unknown>;
  token: unknown;
  /** Beside the params or among them. */
  deadlineMs: unknown;
  traceparent: unknown;
};

/** What cannot be carried out; its id where one could be told. */
export type RpcFault = { id: RpcId | null; fault: RpcError };

export type ReadLine = { batch: boolean; entries: (RpcRequest | RpcFault)[] };

const MAX_BATCH = 100;
const MAX_ID_CHARS = 255;

export function readLine(line: Buffer): ReadLine {
  let value: unknown;
  try {
    value = parseJsonBody(line);
  } catch (error) {
    const detail = error instanceof AtollError ? error.detail.replace(/^the body /, 'the line ') : 'not JSON';
    return single(faultOf(null, rpcCodes.parse, detail));
  }
  if (!Array.isArray(value)) return single(readRequest(value));
  if (value.length === 0) return single(faultOf(null, rpcCodes.invalidRequest, 'a batch is not empty'));
  if (value.length > MAX_BATCH)
    return single(faultOf(null, rpcCodes.invalidRequest, `a batch holds at most ${MAX_BATCH} requests`));
  return { batch: true, entries: value.map(readRequest) };
}

function single(entry: RpcRequest | RpcFault): ReadLine {
  return { batch: false, entries: [entry] };
}

function readRequest(value: unknown): RpcRequest | RpcFault {
  if (!isRecord(value)) return faultOf(null, rpcCodes.invalidRequest, 'a request is an object');
  const { id: given, method, params = {}, token, deadlineMs, traceparent } = value;
  const id = Object.hasOwn(value, 'id') ? given : undefined;
  if (id !== undefined && !isId(id))
    return faultOf(null, rpcCodes.invalidRequest, 'an id is a string or a whole number');
  if (value.jsonrpc !== '2.0') return faultOf(id ?? null, rpcCodes.invalidRequest, 'jsonrpc is "2.0"');
  if (typeof method !== 'string') return faultOf(id ?? null, rpcCodes.invalidRequest, 'method is text');
  if (Array.isArray(params)) {
    // A notification is answered by nobody, and none that takes params by position does anything.
    if (id === undefined) return { id, method, params: {}, token, deadlineMs, traceparent };
    return faultOf(id, rpcCodes.invalidParams, 'params are an object: they go by name');
  }
  if (!isRecord(params)) return faultOf(id ?? null, rpcCodes.invalidRequest, 'params are an object');
  if (deadlineMs !== undefined || takesAnything(method))
    return { id, method, params, token, deadlineMs, traceparent };
  const { deadlineMs: among, ...others } = params;
  return { id, method, params: others, token, deadlineMs: among, traceparent };
}

/** Where params may have any name, `deadlineMs` is the caller's own. */
function takesAnything(method: string): boolean {
  const known: Readonly<Record<string, Operation>> = operations;
  return Object.hasOwn(known, method) && known[method]?.params.type === 'loose_object';
}

function faultOf(id: RpcId | null, code: number, detail: string): RpcFault {
  return { id, fault: new RpcError(code, detail, { detail }) };
}

function isId(id: unknown): id is RpcId {
  return typeof id === 'string' ? id.length <= MAX_ID_CHARS : Number.isInteger(id);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
