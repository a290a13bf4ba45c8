/**
 * The way of a sandbox's model calls: forwarded to the configured upstream with the key added here, outside (I7). Only
 * model calls pass, and the caller's own credentials are dropped.
 */
import type { ServerResponse } from 'node:http';
import type { Logger } from '../logger.ts';
import type { Row } from './call.ts';
import { hasBody, passedHeaders } from './headers.ts';
import { createRelay } from './relay.ts';

export type Upstream = { baseUrl: string; apiKey: string };
export type Upstreams = { anthropic?: Upstream };

const PREFIX = '/anthropic';

const CALLS: readonly { method: string; path: RegExp }[] = [
  { method: 'POST', path: /^\/v1\/messages(\/count_tokens)?$/ },
  { method: 'GET', path: /^\/v1\/models(\/\w[\w.-]*)?$/ },
];

/** What a caller may say upstream; its credentials and its origin are set anew here. */
const ASKED =
  /^(accept|accept-language|content-type|content-encoding|user-agent|x-app|traceparent|tracestate|(anthropic|x-anthropic|x-claude|x-stainless)-.+)$/;

export function createModelRow({ anthropic }: Upstreams, logger: Logger): Row {
  const relay = anthropic && createRelay(anthropic.baseUrl);

  return {
    takes: (path) => path.startsWith(`${PREFIX}/`),
    answer(call) {
      const { request, response } = call;
      const path = call.path.slice(PREFIX.length);
      if (!CALLS.some((known) => known.method === request.method && known.path.test(path)))
        return refuse(response, 403, 'permission_error', 'Atoll forwards model calls only.');
      if (!anthropic || !relay)
        return refuse(
          response,
          503,
          'api_error',
          'Atoll has no model credential: start it with ANTHROPIC_API_KEY set.',
        );
      if (request.method === 'GET' && hasBody(request))
        return refuse(response, 400, 'invalid_request_error', 'A GET has no body here.');
      // No timeout: a model may think for long before it says anything.
      relay.send(call, {
        path: path + call.query,
        headers: {
          ...passedHeaders(request.headers, (name) => ASKED.test(name)),
          'x-api-key': anthropic.apiKey,
        },
        secret: anthropic.apiKey,
        onFailure(_kind, reason) {
          logger.warn({ host: relay.host, reason }, 'the model upstream could not be reached');
          refuse(response, 502, 'api_error', `Atoll cannot reach the model upstream (${reason}).`);
        },
      });
    },
    close: () => relay?.close(),
  };
}

/** In the shape of the model API's own errors, so that the executor understands it. */
function refuse(response: ServerResponse, status: number, type: string, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ type: 'error', error: { type, message } }));
}
