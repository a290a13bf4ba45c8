/**
 * The way of a sandbox's model calls: forwarded to their upstream with the key added here, outside (I7). Only model calls
 * pass, and the caller's own credentials are dropped. A stored credential for the API goes before the runner's own key;
 * its bounds hold, and what they do not cover is refused rather than sent with another key.
 */
import type { ServerResponse } from 'node:http';
import { AtollError } from '@atoll/protocol/errors';
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import type { Logger } from '../logger.ts';
import { type AccessWatch, both, watchAccess } from './access-watch.ts';
import { isWithin } from './bounds.ts';
import type { Budget } from './budget.ts';
import type { Call, Row } from './call.ts';
import type { GatewayCredentials } from './credentials.ts';
import { hasBody, passedHeaders } from './headers.ts';
import type { ModelApi } from './model-apis.ts';
import { type Failure, failureCodes, type Relay } from './relay.ts';
import { createUsageReader } from './usage.ts';

export type Upstream = { baseUrl: string; apiKey: string };
/** The runner's own, for sessions without a credential. */
export type Upstreams = { [Name in ModelApi['name']]?: Upstream };

export type ModelRowOptions = {
  api: ModelApi;
  upstream: Upstream | undefined;
  credentials: GatewayCredentials;
  /** Absent where there is no limit. */
  budget: Budget | undefined;
  relay: Relay;
  /** For the access log. */
  record: (record: AccessRecord) => void;
  logger: Logger;
};

/** Where a call goes, and with what. */
type Way = { base: URL; path: string; name?: string } & Pick<
  GatewayCredential,
  'header' | 'secrets' | 'methods' | 'paths'
>;

export function createModelRow(options: ModelRowOptions): Row {
  const { api, upstream, credentials, budget, relay, record, logger } = options;
  const prefix = `/${api.name}`;

  async function wayOf(method: string, path: string): Promise<Way> {
    const ways = await waysOf(path);
    const [first] = ways;
    if (first === undefined)
      throw new AtollError(
        'no_model_credential',
        `Atoll has no key for this model API: store one (atoll credential set NAME --kind ${api.name}), or set ${api.variable} where atoll start runs.`,
      );
    const way = ways.find((each) => isWithin(each, method, each.path));
    if (way) return way;
    accessOf(method, first).refused('credential_out_of_bounds');
    throw new AtollError('credential_out_of_bounds', 'The stored key is not for this call.');
  }

  function accessOf(method: string, { base, name }: Way): AccessWatch {
    return watchAccess({ via: 'model', method, base, credential: name, record });
  }

  async function waysOf(path: string): Promise<Way[]> {
    const stored: Way[] = [];
    for (const { target, ...credential } of await credentials.current()) {
      if (target.at !== api.name) continue;
      const base = new URL(target.url);
      stored.push({ ...credential, base, path: api.pathAt(base, path) });
    }
    if (stored.length > 0 || !upstream) return stored;
    const base = new URL(upstream.baseUrl);
    const { apiKey } = upstream;
    const own = { header: api.keyHeader(apiKey), secrets: [apiKey], methods: undefined, paths: undefined };
    return [{ ...own, base, path: api.pathAt(base, path) }];
  }

  function send(call: Call, way: Way, metered: Budget | undefined): void {
    const { base, path, header, secrets } = way;
    const access = accessOf(call.request.method ?? '', way);
    const usage = metered && createUsageReader();
    relay.send(call, {
      base,
      path: path + call.query,
      headers: {
        ...passedHeaders(call.request.headers, (name) => api.asked.test(name)),
        [header.name]: header.value,
      },
      secrets,
      watch: usage ? both(access, { ...usage, ended: () => metered.spend(usage.tokens()) }) : access,
      // No timeout: a model may think for long before it says anything.
      onFailure(kind, reason) {
        access.failed(failureCodes[kind]);
        logger.warn({ host: base.host, kind, reason }, 'a model upstream did not answer');
        refuse(call.response, 502, failureOf(kind, reason), true);
      },
    });
  }

  /** Clients try again after a 429 and all from 500 on, unless they are told that the answer would be the same. */
  function refuse(response: ServerResponse, status: number, message: string, passes = false): void {
    response.writeHead(status, {
      'content-type': 'application/json',
      ...(passes ? {} : { 'x-should-retry': 'false' }),
    });
    response.end(JSON.stringify(api.error(status, message)));
  }

  return {
    takes: (path) => path.startsWith(`${prefix}/`),
    async answer(call) {
      const { request, response } = call;
      const { method = '' } = request;
      const path = call.path.slice(prefix.length);
      const asked = api.calls.find((each) => each.method === method && each.path.test(path));
      if (!asked) return refuse(response, 403, 'Atoll forwards model calls only.');
      if (method === 'GET' && hasBody(request)) return refuse(response, 400, 'A GET has no body here.');
      try {
        const way = await wayOf(method, path);
        const metered = asked.metered ? budget : undefined;
        await metered?.admit().catch((error) => {
          if (error instanceof AtollError) accessOf(method, way).refused(error.code);
          throw error;
        });
        send(call, way, metered);
      } catch (error) {
        if (!(error instanceof AtollError))
          logger.error({ err: error }, 'a gateway could not forward a model call');
        const known = error instanceof AtollError ? error : new AtollError('internal');
        refuse(response, known.status, known.detail, known.code === 'credentials_unavailable');
      }
    },
  };
}

function failureOf(kind: Failure, reason: string): string {
  return kind === 'encoded'
    ? `The model upstream answered compressed (${reason}), which Atoll did not ask for and cannot look into.`
    : `Atoll cannot reach the model upstream (${reason}).`;
}
