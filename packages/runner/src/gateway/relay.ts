/**
 * Sends a call on to one upstream and its answer back, both as they come. The secret that is added here is taken out of
 * whatever comes back (I7).
 */
import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream';
import type { Call } from './call.ts';
import { bodyFraming, type Headers, hasBody, passedHeaders } from './headers.ts';
import { createScrubber } from './scrubber.ts';

export type Relay = {
  /** Where it sends to. */
  readonly host: string;
  send(call: Call, going: Going): void;
  close(): void;
};

/** A call as it goes on. */
export type Going = {
  path: string;
  /** Besides those that frame the body. */
  headers: Headers;
  /** Instead of the call's own. */
  body?: Buffer;
  /** Its literal is in `headers`. */
  secret: string;
  /** Until the answer begins; without it, however long it takes. */
  timeoutMs?: number;
  /** Answers when nobody else does. `reason` is a code of the system's. */
  onFailure(kind: 'unreachable' | 'timed_out', reason: string): void;
};

export function createRelay(baseUrl: string): Relay {
  const base = new URL(baseUrl);
  // Imported, either module would cost every start 16 ms and more; taken like this, the first sandbox pays.
  const transport =
    base.protocol === 'https:'
      ? process.getBuiltinModule('node:https')
      : process.getBuiltinModule('node:http');
  const agent = new transport.Agent({ keepAlive: true });
  const prefix = base.pathname.replace(/\/$/, '');

  return {
    host: base.host,
    send({ request, response }, { path, headers, body, secret, timeoutMs, onFailure }) {
      const framing: Headers =
        body === undefined ? bodyFraming(request) : { 'content-length': String(body.length) };
      const upstream = transport.request(base, {
        method: request.method,
        path: prefix + path,
        headers: { ...headers, ...framing, host: base.host, 'accept-encoding': 'identity' },
        agent,
      });
      let late = false;
      const timer = timeoutMs === undefined ? undefined : setTimeout(giveUp, timeoutMs);
      function giveUp(): void {
        late = true;
        upstream.destroy();
      }
      upstream.on('response', (reply: IncomingMessage) => {
        clearTimeout(timer);
        const scrubber = createScrubber(secret);
        // Scrubbing changes the length.
        const kept = passedHeaders(reply.headers, (name) => name !== 'content-length');
        response.writeHead(reply.statusCode ?? 502, scrubber.headers(kept));
        // A stream shows that it began, before it has anything to say.
        response.flushHeaders();
        pipeline(reply, scrubber.stream, response, () => undefined);
      });
      upstream.on('error', (error) => {
        clearTimeout(timer);
        // The caller left, and took this call with it.
        if (response.destroyed) return;
        if (response.headersSent) response.destroy();
        else if (late) onFailure('timed_out', 'late');
        else onFailure('unreachable', 'code' in error ? String(error.code) : 'no reason');
      });
      response.on('close', () => {
        clearTimeout(timer);
        upstream.destroy();
      });
      if (body !== undefined) upstream.end(body);
      // Without a body nothing is piped: what came as one would be the next request on a connection others share.
      else if (hasBody(request)) request.pipe(upstream);
      else upstream.end();
    },
    close: () => agent.destroy(),
  };
}
