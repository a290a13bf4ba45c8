import { AtollError } from '@atoll/protocol/errors';
import { RpcError, rpcCodes } from '@atoll/protocol/json-rpc';
import { parse } from '@atoll/protocol/parse';
import type * as v from 'valibot';
import type { Context } from '../routes/handler.ts';

/** `params` are as the caller sent them. */
export type Method = (params: Record<string, unknown>, context: Context) => Promise<unknown>;

/** What does not fit the schema is the caller's: -32602 with what is wrong. */
export function readParams<S extends v.GenericSchema>(
  schema: S,
  params: Record<string, unknown>,
): v.InferOutput<S> {
  try {
    return parse(schema, params);
  } catch (error) {
    if (!(error instanceof AtollError)) throw error;
    const { code, detail } = error;
    throw new RpcError(rpcCodes.invalidParams, detail, { code, detail });
  }
}
