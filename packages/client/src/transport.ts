import type { Operation } from '@atoll/protocol/operation';
import { restRequest } from '@atoll/protocol/rest-request';
import { errorOf, unreachable } from './errors.ts';

export type TransportOptions = {
  /** Where the server is, e.g. `http://127.0.0.1:4100`. */
  url: string;
  /** API key; public operations need none. */
  key?: string | undefined;
  fetch?: typeof globalThis.fetch | undefined;
};

/** What can be written to a file. */
export type FileContent =
  | string
  | Uint8Array<ArrayBuffer>
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>;

export type TransportRequest = {
  accept: string;
  signal?: AbortSignal | undefined;
  /** The body of an operation that takes bytes. */
  bytes?: FileContent;
};

/**
 * Sends one operation and returns its successful answer, body unread. Throws AtollError as the server reported it,
 * Unreachable when there is no such answer, and the signal's reason when it aborts.
 */
export type Transport = {
  readonly url: string;
  send(
    op: Operation,
    params: Readonly<Record<string, unknown>>,
    request: TransportRequest,
  ): Promise<Response>;
};

export function createTransport(options: TransportOptions): Transport {
  const url = options.url.replace(/\/+$/, '');
  const fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
  const authorization = options.key === undefined ? {} : { authorization: `Bearer ${options.key}` };
  return {
    url,
    async send(op, params, { accept, signal, bytes }) {
      const { method, path, headers, body } = restRequest(op, params);
      const init = {
        method,
        headers: { accept, ...authorization, ...headers, ...bytesHeaders(bytes) },
        body: bytes ?? body ?? null,
        signal: signal ?? null,
        // Fetch demands this for a body that is a stream.
        duplex: 'half',
      } as RequestInit;
      const response = await fetch(url + path, init).catch((error: unknown) => {
        signal?.throwIfAborted();
        throw unreachable(url, error);
      });
      if (!response.ok) throw await errorOf(response, url);
      return response;
    },
  };
}

function bytesHeaders(bytes: unknown): Record<string, string> {
  return bytes === undefined ? {} : { 'content-type': 'application/octet-stream' };
}
