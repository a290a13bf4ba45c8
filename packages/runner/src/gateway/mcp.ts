/**
 * The way to remote MCP servers: `/mcp/NAME` and all below it, for the names of the session's `mcp` credentials. What the
 * server wants to see of a user is added here, outside (I7); everything else, streams too, is the executor's and the
 * server's business (https://modelcontextprotocol.io, Streamable HTTP).
 */
import { AtollError } from '@atoll/protocol/errors';
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import type { Logger } from '../logger.ts';
import { watchAccess } from './access-watch.ts';
import { isWithin } from './bounds.ts';
import { type Row, refuse } from './call.ts';
import type { GatewayCredentials } from './credentials.ts';
import { executorHeaders } from './headers.ts';
import { failureCodes, type Relay } from './relay.ts';

const PREFIX = '/mcp/';

export type McpRowOptions = {
  credentials: GatewayCredentials;
  relay: Relay;
  /** For the access log. */
  record: (record: AccessRecord) => void;
  logger: Logger;
};

export function createMcpRow({ credentials, relay, record, logger }: McpRowOptions): Row {
  async function serverOf(name: string): Promise<GatewayCredential & { url: string }> {
    for (const credential of await credentials.current()) {
      const { target } = credential;
      if (target.at === 'mcp' && target.server === name) return { ...credential, url: target.url };
    }
    throw new AtollError(
      'not_found',
      `no MCP server ${name}: store its credential (atoll credential set ${name} --kind mcp --url URL)`,
    );
  }

  return {
    takes: (path) => path.startsWith(PREFIX),
    async answer(call) {
      const { request, response } = call;
      const [name = ''] = call.path.slice(PREFIX.length).split('/', 1);
      try {
        const { url, header, secrets, methods, paths } = await serverOf(name);
        const base = new URL(url);
        const path = below(base, call.path.slice(PREFIX.length + name.length));
        const { method = '' } = request;
        const access = watchAccess({ via: 'mcp', method, base, credential: name, record });
        if (!isWithin({ methods, paths }, method, path)) {
          access.refused('credential_out_of_bounds');
          throw new AtollError('credential_out_of_bounds', `the credential ${name} is not for this request`);
        }
        relay.send(call, {
          base,
          path: path + call.query,
          headers: { ...executorHeaders(request.headers), [header.name]: header.value },
          secrets,
          watch: access,
          // No timeout: a tool may work for long, and a stream may have nothing to say.
          onFailure(kind, reason) {
            access.failed(failureCodes[kind]);
            logger.warn({ host: base.host, kind, reason }, 'an MCP server did not answer');
            const detail = kind === 'encoded' ? `it answers compressed (${reason})` : reason;
            refuse(response, new AtollError('upstream_failed', `the MCP server ${name}: ${detail}`));
          },
        });
      } catch (error) {
        if (!(error instanceof AtollError))
          logger.error({ err: error }, 'a gateway could not forward an MCP call');
        refuse(response, error instanceof AtollError ? error : new AtollError('internal'));
      }
    },
  };
}

/** The server's own path as it is when nothing is asked below it. */
function below({ pathname }: URL, rest: string): string {
  return rest === '' ? pathname : pathname.replace(/\/$/, '') + rest;
}
