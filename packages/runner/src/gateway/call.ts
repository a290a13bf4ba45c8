/** A request of a sandbox to its gateway, and the rows that answer it: what a gateway forwards, one kind each. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AtollError } from '@atoll/protocol/errors';

export type Call = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Below the gateway's own address; plain segments, nothing encoded. */
  readonly path: string;
  /** As it came, with its `?`; empty without one. */
  readonly query: string;
};

export type Row = {
  takes(path: string): boolean;
  /** Never rejects: whatever goes wrong is an answer. */
  answer(call: Call): void | Promise<void>;
};

/** Answers as the API does: problem+json (RFC 9457). */
export function refuse(
  response: ServerResponse,
  error: AtollError,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent) return void response.destroy();
  response.writeHead(error.status, { 'content-type': 'application/problem+json', ...headers });
  response.end(JSON.stringify(error.toProblem()));
}
