/**
 * Sends calls on to their upstreams and the answers back, both as they come. The secrets that are added here are taken
 * out of whatever comes back (I7); an answer that cannot be read for them, since it is compressed, does not come back.
 * Redirects are answers like any other: nothing here follows one.
 */
import type { Agent, IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ErrorCode } from '@atoll/protocol/errors';
import type { Call } from './call.ts';
import { bodyFraming, encodingOf, type Headers, hasBody, passedHeaders } from './headers.ts';
import { passBody } from './pass-body.ts';
import { createScrubber, type Scrubber } from './scrubber.ts';

export type Relay = {
  send(call: Call, going: Going): void;
  close(): void;
};

/** A call as it goes on. */
export type Going = {
  /** Where to; of its path nothing is used. */
  base: URL;
  /** How to get there without a network. */
  connect?: (() => Duplex) | undefined;
  path: string;
  /** Besides those that frame the body. */
  headers: Headers;
  /** Instead of the call's own. */
  body?: Buffer;
  /** Their literals are in `headers`. */
  secrets: readonly string[];
  /** Until the answer begins; without it, however long it takes. */
  timeoutMs?: number;
  /** Sees what passes. */
  watch?: Watch;
  /** Answers when nobody else does. `reason` is a code of the system's, or the encoding. */
  onFailure(kind: Failure, reason: string): void;
};

export type Failure = 'unreachable' | 'timed_out' | 'encoded';

export const failureCodes = {
  unreachable: 'upstream_failed',
  timed_out: 'timed_out',
  encoded: 'upstream_failed',
} as const satisfies Record<Failure, ErrorCode>;

export type Watch = {
  sent(bytes: number): void;
  answered(status: number, headers: IncomingHttpHeaders): void;
  received(chunk: Buffer): void;
  /** Once for a call that went on, however it ended. */
  ended(): void;
};

export function createRelay(): Relay {
  const agents = new Map<string, Agent>();

  function agentFor({ protocol }: URL, transport: { Agent: new (options: object) => Agent }): Agent {
    const agent = agents.get(protocol) ?? new transport.Agent({ keepAlive: true });
    agents.set(protocol, agent);
    return agent;
  }

  return {
    send(
      { request, response },
      { base, connect, path, headers, body, secrets, timeoutMs, watch, onFailure },
    ) {
      // The caller left while it was found out where its call goes.
      if (response.destroyed) return;
      // Imported, either module would cost every start 16 ms and more; taken like this, the first sandbox pays.
      const transport =
        base.protocol === 'https:'
          ? process.getBuiltinModule('node:https')
          : process.getBuiltinModule('node:http');
      const framing: Headers =
        body === undefined ? bodyFraming(request) : { 'content-length': String(body.length) };
      const upstream = transport.request(base, {
        method: request.method,
        path,
        headers: { ...headers, ...framing, host: base.host, 'accept-encoding': 'identity' },
        ...(connect ? { createConnection: connect } : { agent: agentFor(base, transport) }),
      });
      let late = false;
      const timer = timeoutMs === undefined ? undefined : setTimeout(giveUp, timeoutMs);
      function giveUp(): void {
        late = true;
        upstream.destroy();
      }
      upstream.on('response', (reply: IncomingMessage) => {
        clearTimeout(timer);
        const { statusCode: status = 0 } = reply;
        const encoding = encodingOf(reply);
        if (status >= 200 && encoding === undefined)
          return passBack(reply, response, createScrubber(secrets), watch);
        upstream.destroy();
        if (encoding !== undefined) onFailure('encoded', encoding);
        // Node reads a status like 099, and throws when it is to write it.
        else onFailure('unreachable', `status ${status}`);
      });
      // It changed the protocol, which nobody asked it to.
      upstream.on('upgrade', (_reply, socket) => {
        clearTimeout(timer);
        socket.destroy();
        onFailure('unreachable', 'upgrade');
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
        watch?.ended();
      });
      if (body !== undefined) upstream.end(body);
      // Without a body nothing is piped: what came as one would be the next request on a connection others share.
      else if (!hasBody(request)) upstream.end();
      else {
        if (watch) request.on('data', (chunk: Buffer) => watch.sent(chunk.length));
        request.pipe(upstream);
      }
    },
    close() {
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

function passBack(
  reply: IncomingMessage,
  response: ServerResponse,
  scrubber: Scrubber,
  watch: Watch | undefined,
): void {
  const status = reply.statusCode ?? 502;
  // Scrubbing changes the length.
  const kept = passedHeaders(reply.headers, (name) => name !== 'content-length');
  response.writeHead(status, scrubber.headers(kept));
  // A stream shows that it began, before it has anything to say.
  response.flushHeaders();
  watch?.answered(status, reply.headers);
  passBody(reply, response, scrubber, watch?.received);
}
