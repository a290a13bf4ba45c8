import type * as v from 'valibot';
import type { Role } from './schemas/platform.ts';

/**
 * One declared operation. HTTP routes, JSON-RPC methods and the OpenAPI document are made from it, so that the wires
 * cannot drift apart.
 *
 * `params` is flat: path ids, query and body fields together, as JSON-RPC sends them. `rest` says where each one
 * stands on HTTP: those named in `path` there, those in `query` there, all others in the body (POST, PUT, PATCH) or
 * in the query (GET, DELETE).
 */
export type Operation = {
  /** unary: JSON in, JSON out. stream: SSE, or JSON when asked for. bytes: a body of bytes in or out. text: plain. */
  kind: 'unary' | 'stream' | 'bytes' | 'text';
  summary: string;
  /** Who may: a role or better (admin may all). `public` needs no key. */
  role: Role | 'public';
  /** A session's own token may, too, for that session. */
  bySession?: boolean;
  rest: RestBinding;
  /** Loose where the body is the caller's own JSON object: what the entries do not name is of the body, too. */
  params: v.StrictObjectSchema<v.ObjectEntries, undefined> | v.LooseObjectSchema<v.ObjectEntries, undefined>;
  result: v.GenericSchema;
};

/** A table of them, by name. */
export type Operations = Readonly<Record<string, Operation>>;

export type RestBinding = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With `:name` for a segment and a last `*name` for the rest of the path. */
  path: string;
  /** Status of success. Default 200. */
  status?: number;
  /** Its status of success when that param is true. */
  statusWhen?: { param: string; status: number };
  /** stream: the status of the JSON answer. */
  jsonStatus?: number;
  /** stream: a client that accepts anything gets JSON; otherwise it gets SSE. */
  jsonFirst?: boolean;
  query?: readonly string[];
  /** Request headers that stand for a param. */
  headers?: Readonly<Record<string, string>>;
  /** Largest body; default 1 MiB. */
  maxBodyBytes?: number;
  /** bytes: which way they go. */
  bytes?: 'in' | 'out';
};

/** Keeps the literal types of a declaration. */
export function operation<const O extends Operation>(declared: O): O {
  return declared;
}

/** Whether an operation is a method of JSON-RPC, too: those whose bodies are bytes have others in their place, and runners use HTTP. */
export function isMethod({ kind, role }: Operation): boolean {
  return kind !== 'bytes' && role !== 'runner';
}
