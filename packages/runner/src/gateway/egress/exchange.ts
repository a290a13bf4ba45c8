/**
 * One HTTP request of a sandbox to a destination that it may reach, and the answer, both as they come. Where a credential
 * is for the host, it is added within its methods and paths and over verified TLS only, and its literals are taken out of
 * whatever that host answers (I7).
 */
import type { Agent, ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { AtollError } from '@atoll/protocol/errors';
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import { refuse } from '../call.ts';
import {
  asksForPart,
  asRead,
  bodyFraming,
  encodingOf,
  type Headers,
  hasBody,
  isOverride,
  passedHeaders,
} from '../headers.ts';
import { passBody } from '../pass-body.ts';
import { createScrubber, type Scrubber } from '../scrubber.ts';
import { credentialOf } from './injection.ts';
import { codeOf } from './network.ts';
import { offerStraight } from './straight.ts';
import { IDLE_MS } from './tunnel.ts';

export type Exchange = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** As the `Host` header says it. */
  readonly host: string;
  readonly path: string;
  readonly secure: boolean;
  readonly agent: Agent;
  /** Those for this host. */
  readonly credentials: readonly GatewayCredential[];
};

export type ExchangeEnd = {
  sentBytes: number;
  receivedBytes: number;
  status?: number;
  credential?: string;
  code?: string;
};

/** Resolves when all is said, or nobody listens any more; never rejects. Throws `invalid_request`. */
export function exchange(asked: Exchange): Promise<ExchangeEnd> {
  const { request, response, secure, credentials } = asked;
  const { promise, resolve } = Promise.withResolvers<ExchangeEnd>();
  const credential = secure ? credentialOf(request.method ?? '', asked.path, credentials) : undefined;
  const seen: ExchangeEnd = { sentBytes: 0, receivedBytes: 0 };
  if (credential) seen.credential = credential.name;
  const upstream = send(asked, credential);
  upstream.setTimeout(IDLE_MS, () => upstream.destroy(new AtollError('timed_out')));
  request.on('data', (chunk: Buffer) => {
    seen.sentBytes += chunk.length;
  });
  upstream.on('response', (reply) => {
    seen.status = reply.statusCode ?? 502;
    reply.on('data', (chunk: Buffer) => {
      seen.receivedBytes += chunk.length;
    });
    try {
      answer(asked, reply, seen);
    } catch (error) {
      upstream.destroy(error instanceof Error ? error : undefined);
    }
  });
  function failed(error: Error): void {
    // The caller left, and took this request with it; or all that was to be said is said.
    if (response.destroyed || response.writableEnded) return;
    const told =
      error instanceof AtollError
        ? error
        : new AtollError('egress_unreachable', `${asked.host} cannot be reached (${codeOf(error)})`);
    seen.code = told.code;
    refuse(response, told);
  }
  upstream.on('error', failed);
  upstream.on('upgrade', (_reply, socket) => {
    // The request has let go of it: destroyed with an error, it would have nobody to tell but the process.
    socket.destroy();
    failed(
      new AtollError('egress_unreachable', `${asked.host} changes the protocol, which nobody asked for`),
    );
  });
  upstream.on('close', () => {
    if (!response.headersSent) response.destroy();
  });
  response.on('close', () => {
    upstream.destroy();
    resolve(seen);
  });
  if (hasBody(request)) request.pipe(upstream);
  else upstream.end();
  return promise;
}

const NOTHING = Buffer.alloc(0);
const UNTOUCHED: Pick<Scrubber, 'pass' | 'rest'> = { pass: (chunk) => chunk, rest: () => NOTHING };

function send(asked: Exchange, credential: GatewayCredential | undefined): ClientRequest {
  const { request, secure, agent, host, path, credentials } = asked;
  if (!/^[\x21-\x7e]*$/.test(path))
    throw new AtollError('invalid_request', 'the path holds what a path cannot hold unescaped');
  const added = credential?.header;
  const dropped = (name: string) =>
    /^(host|content-length|expect)$/.test(name) ||
    (added !== undefined && asRead(name) === asRead(added.name.toLowerCase())) ||
    (credential !== undefined && isOverride(name)) ||
    (credentials.length > 0 && asksForPart(name));
  const headers: Headers = {
    ...passedHeaders(request.headers, (name) => !dropped(name)),
    ...bodyFraming(request),
    host,
    // What is compressed cannot be looked through.
    ...(credentials.length > 0 ? { 'accept-encoding': 'identity' } : {}),
    ...(added ? { [added.name]: added.value } : {}),
  };
  const transport = process.getBuiltinModule(secure ? 'node:https' : 'node:http');
  return transport.request({ agent, method: request.method, path, headers, setHost: false });
}

function answer(
  { request, response, credentials }: Exchange,
  reply: IncomingMessage,
  seen: ExchangeEnd,
): void {
  const { statusCode = 502 } = reply;
  const bodiless = request.method === 'HEAD' || statusCode === 204 || statusCode === 304;
  const secrets = credentials.flatMap((credential) => credential.secrets);
  const scrubber = secrets.length > 0 ? createScrubber(secrets) : undefined;
  const encoding = scrubber && !bodiless ? encodingOf(reply) : undefined;
  if (encoding !== undefined)
    throw new AtollError(
      'egress_unreadable',
      `the answer is compressed (${encoding}), which was not asked for`,
    );
  // Scrubbing changes the length.
  const kept = passedHeaders(reply.headers, (name) => !scrubber || bodiless || name !== 'content-length');
  response.writeHead(statusCode, scrubber?.headers(kept) ?? kept);
  response.flushHeaders();
  passBody(reply, response, scrubber ?? UNTOUCHED);
  if (!scrubber) offerStraight(reply, response, seen);
}
