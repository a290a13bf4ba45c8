/**
 * The composition root of `atoll start`. What can fail for a reason of the user's is looked at before the server says
 * that it listens: the host, the data directory and its database, the driver, the executor profiles, the port. The
 * runner is loaded once the server listens.
 */

import { isLoopbackHost } from '@atoll/protocol/loopback';
import type { Listening, Server, ServerOptions } from '@atoll/server';
import { type DataDirectory, dataDirectory } from '../data-directory.ts';
import { codeOf, SetupError, UsageError } from '../failure.ts';
import { wholeNumber } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { readPem } from '../pem.ts';
import { letHeapGrow, makeServer, refuseBrokenProfiles, refuseUnusableDriver } from '../serving.ts';
import type { Config } from '../settings.ts';
import type { Terminal } from '../terminal.ts';
import { version } from '../version.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { config } = invocation;
  if (!isLoopbackHost(config.host) && !config.allowRemote)
    throw new UsageError(
      `--host ${config.host} can be reached from other machines; add --allow-remote if it may`,
    );
  letHeapGrow();
  const directory = dataDirectory(config.dataDir);
  try {
    await serve(invocation, directory);
  } finally {
    directory.release();
  }
}

async function serve(invocation: Invocation, directory: DataDirectory): Promise<void> {
  const { config, switches } = invocation;
  const withRunner = switches['no-runner'] !== true;
  const grpc = grpcOptions(invocation);
  const server = await makeServer(config, directory, { withRunner, grpc });
  try {
    if (withRunner) {
      await refuseUnusableDriver(config);
      await refuseBrokenProfiles(config);
    }
    announce(invocation.terminal, { ...config, withRunner }, await listen(server, config));
    const stopped = invocation.stopped();
    await Promise.race([server.ready(), stopped]);
    await stopped;
  } finally {
    await server.stop();
  }
}

/** Where runners may dial in, if that is asked for. */
function grpcOptions({ options, switches, config }: Invocation): ServerOptions['grpc'] {
  const port = wholeNumber('grpc-port', options['grpc-port']);
  if (port === undefined) return undefined;
  if (port > 65_535) throw new UsageError('--grpc-port must be a whole number from 0 to 65535');
  const { 'grpc-tls-cert': cert, 'grpc-tls-key': key, 'grpc-tls-ca': ca, 'api-url': apiUrl } = options;
  if ((cert === undefined) !== (key === undefined))
    throw new UsageError('--grpc-tls-cert and --grpc-tls-key go together');
  if (ca !== undefined && cert === undefined) throw new UsageError('--grpc-tls-ca needs --grpc-tls-cert');
  if (cert === undefined && !isLoopbackHost(config.host) && switches.insecure !== true)
    throw new UsageError(
      `gRPC on ${config.host} would take keys unencrypted: give --grpc-tls-cert and --grpc-tls-key, or --insecure`,
    );
  if (cert === undefined || key === undefined) return { port, tls: undefined, apiUrl };
  const clientCa = ca === undefined ? undefined : readPem(ca);
  return { port, tls: { cert: readPem(cert), key: readPem(key), clientCa }, apiUrl };
}

async function listen(server: Pick<Server, 'listen'>, { host, port }: Config): Promise<Listening> {
  try {
    return await server.listen({ host, port });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EADDRINUSE')
      throw new SetupError(`Port ${port} on ${host} is taken; choose another with --port.`);
    if (code === 'EACCES')
      throw new SetupError(`Port ${port} may not be used by this user; choose another with --port.`);
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
      throw new SetupError(`${host} is no address of this machine; choose another with --host.`);
    throw error;
  }
}

function announce(
  { json, value, line, style }: Terminal,
  config: Config & { withRunner: boolean },
  { url, adminKeyFile, grpcUrl }: Listening,
): void {
  const grpc = grpcUrl === undefined ? {} : { grpcUrl };
  if (json) return value({ event: 'listening', url, ...grpc, adminKeyFile, pid: process.pid });
  const model =
    config.anthropicApiKey === undefined
      ? 'ANTHROPIC_API_KEY is not set: Claude agents need a stored one (atoll credential set)'
      : config.anthropicBaseUrl;
  line(`${style.bold('Atoll')} ${version} listens on ${style.cyan(url)}`);
  if (config.withRunner) line(`  sandboxes  ${config.driver}, up to ${config.capacity}`);
  else line('  sandboxes  none here: start runners with atoll runner');
  if (grpcUrl !== undefined) line(`  runners    dial ${grpcUrl}`);
  line(`  model      ${config.anthropicApiKey === undefined ? style.yellow(model) : model}`);
  line(`  admin key  ${adminKeyFile}`);
  line(style.dim('  Ctrl-C stops it. Next: atoll deploy DIR'));
  if (config.withRunner && config.driver === 'process')
    line(style.yellow('  The process driver isolates nothing: run only agents you trust.'));
}
