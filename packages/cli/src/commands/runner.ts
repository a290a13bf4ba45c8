/** `atoll runner`: sandboxes on this machine for a server elsewhere, or in another process here. */
import { join } from 'node:path';
import { isLoopbackHost } from '@atoll/protocol/loopback';
import type { Logger } from '@atoll/runner';
import type { TokenSource } from '@atoll/runner/own-tokens';
import { dataDirectory } from '../data-directory.ts';
import { codeOf, SetupError, UsageError } from '../failure.ts';
import { wholeNumber } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { createLog } from '../log.ts';
import { ownTokens } from '../own-tokens.ts';
import { readPem } from '../pem.ts';
import type { RemoteRunner } from '../remote-runner.ts';
import type { Wire } from '../runner-wires.ts';
import { letHeapGrow, refuseBrokenProfiles, refuseUnusableDriver } from '../serving.ts';
import type { Terminal } from '../terminal.ts';

/** Names are directories, and labels. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export async function run(invocation: Invocation): Promise<void> {
  const { options, config } = invocation;
  const { link = 'http', name = config.hostname, id } = options;
  if (link !== 'http' && link !== 'grpc') throw new UsageError('--link must be http or grpc');
  for (const [flag, value] of Object.entries({ name, id }))
    if (value !== undefined && !NAME.test(value))
      throw new UsageError(`--${flag} must be 1-64 letters, digits, ".", "_" or "-"`);
  letHeapGrow();
  const directory = dataDirectory(join(config.dataDir, 'runners', name));
  try {
    await serve(invocation, directory, name);
  } finally {
    directory.release();
  }
}

async function serve(
  invocation: Invocation,
  directory: ReturnType<typeof dataDirectory>,
  name: string,
): Promise<void> {
  const { options, switches, lists, config, terminal } = invocation;
  const open = options.link === 'grpc' ? grpcWire(invocation) : httpWire(invocation);
  const log = createLog(config.logLevel);
  const tokens = await ownTokens(config, terminal, log);
  const own = { ...config, dataDir: directory.dataDir };
  await refuseUnusableDriver(own);
  await refuseBrokenProfiles(config);
  const { startRemoteRunner } = await import('../remote-runner.ts');
  const runner = await startRemoteRunner({
    config: own,
    directory,
    open: (callbackToken) => open({ tokens, callbackToken, log }),
    id: options.id,
    once: switches.once === true,
    labels: { name, ...labelsOf(lists.label) },
    log,
  });
  const stopped = invocation.stopped();
  try {
    await Promise.race([runner.registered(), stopped]);
    if (!invocation.signal.aborted) announce(terminal, runner, config.server);
    await Promise.race([runner.refused, stopped]);
  } finally {
    await runner.stop();
  }
}

type Opening = { tokens: TokenSource; callbackToken: string; log: Logger };

/** The server calls this runner, which so has to be reachable. */
function httpWire({ options, switches, config }: Invocation): (of: Opening) => Promise<Wire> {
  const tls = tlsOf(options);
  const { host, server } = config;
  if (!isLoopbackHost(host) && !tls && switches.insecure !== true)
    throw new UsageError(
      `--host ${host} can be reached from other machines: give --tls-cert and --tls-key, or --insecure behind TLS`,
    );
  if ((host === '0.0.0.0' || host === '::') && options.url === undefined)
    throw new UsageError(`--host ${host} is no address to be reached at: say how with --url`);
  const port = wholeNumber('port', options.port);
  if (port !== undefined && port > 65_535)
    throw new UsageError('--port must be a whole number from 0 to 65535');
  return async (of) => {
    const { openHttpWire } = await import('../runner-wires.ts');
    return openHttpWire({ server, at: { host, port }, url: options.url, tls, ...of }).catch((error) => {
      if (codeOf(error) === 'EADDRINUSE')
        throw new SetupError(`Port ${port} on ${host} is taken; choose another with --port.`);
      throw error;
    });
  };
}

/** This runner dials, and listens nowhere. */
function grpcWire({ options, switches, config }: Invocation): (of: Opening) => Promise<Wire> {
  const server = grpcUrl(config.server);
  const { protocol, hostname } = new URL(server);
  if (protocol === 'grpc:' && !isLoopbackHost(hostname) && switches.insecure !== true)
    throw new UsageError(
      `--server ${server} would carry the key unencrypted: use grpcs://, or --insecure within a network you trust`,
    );
  const file = (path: string | undefined) => (path === undefined ? undefined : readPem(path));
  const tls = {
    ca: file(options['tls-ca']),
    cert: file(options['tls-cert']),
    key: file(options['tls-key']),
  };
  return async (of) => {
    const { openGrpcWire } = await import('../runner-wires.ts');
    return openGrpcWire({ server, tls, ...of });
  };
}

/** `HOST:PORT` and the schemes of HTTP are taken, too: one flag names the server, whatever the link. */
function grpcUrl(server: string): string {
  const [, scheme = 'grpc', rest = server] = /^([a-z]+):\/\/(.*)$/.exec(server) ?? [];
  const named = { grpc: 'grpc', grpcs: 'grpcs', http: 'grpc', https: 'grpcs' }[scheme];
  const url = `${named}://${rest}`;
  if (named === undefined || !URL.canParse(url) || new URL(url).hostname === '')
    throw new UsageError(
      `--server ${server} is not where gRPC is: give grpc://HOST:PORT, or grpcs:// for TLS`,
    );
  return url;
}

function tlsOf({ 'tls-cert': cert, 'tls-key': key }: Invocation['options']) {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new UsageError('--tls-cert and --tls-key go together');
  return { cert: readPem(cert).toString(), key: readPem(key).toString() };
}

function labelsOf(given: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(
    given.map((label) => {
      const at = label.indexOf('=');
      if (at < 1) throw new UsageError(`--label ${label} must be NAME=VALUE`);
      return [label.slice(0, at), label.slice(at + 1)];
    }),
  );
}

function announce(
  { json, value, line, style }: Terminal,
  { runnerId, url, listens }: RemoteRunner,
  server: string,
): void {
  if (json) return value({ event: 'registered', runnerId, url, server, pid: process.pid });
  line(`${style.bold('Atoll runner')} ${runnerId} serves ${style.cyan(server)}`);
  line(listens ? `  listens on  ${url}` : `  dialled     ${url}`);
  line(style.dim('  Ctrl-C stops it.'));
}
