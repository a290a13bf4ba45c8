/** `atoll runner`: sandboxes on this machine for a server elsewhere, or in another process here. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isLoopbackHost } from '@atoll/protocol/loopback';
import { dataDirectory } from '../data-directory.ts';
import { codeOf, SetupError, UsageError } from '../failure.ts';
import { wholeNumber } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { createLog } from '../log.ts';
import { ownTokens } from '../own-tokens.ts';
import type { RemoteRunner } from '../remote-runner.ts';
import { letHeapGrow, refuseBrokenProfiles, refuseUnusableDriver } from '../serving.ts';
import type { Terminal } from '../terminal.ts';

/** Names are directories, and labels. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export async function run(invocation: Invocation): Promise<void> {
  const { options, config } = invocation;
  const { link = 'http', name = config.hostname, id } = options;
  if (link !== 'http') throw new UsageError('--link must be http');
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
  const tls = tlsOf(options);
  const { host } = config;
  if (!isLoopbackHost(host) && !tls && switches.insecure !== true)
    throw new UsageError(
      `--host ${host} can be reached from other machines: give --tls-cert and --tls-key, or --insecure behind TLS`,
    );
  if ((host === '0.0.0.0' || host === '::') && options.url === undefined)
    throw new UsageError(`--host ${host} is no address to be reached at: say how with --url`);
  const port = wholeNumber('port', options.port);
  if (port !== undefined && port > 65_535)
    throw new UsageError('--port must be a whole number from 0 to 65535');
  const log = createLog(config.logLevel);
  const tokens = await ownTokens(config, terminal, log);
  const own = { ...config, dataDir: directory.dataDir };
  await refuseUnusableDriver(own);
  await refuseBrokenProfiles(config);
  const { startRemoteRunner } = await import('../remote-runner.ts');
  const runner = await startRemoteRunner({
    config: own,
    directory,
    tokens,
    at: { host, port },
    url: options.url,
    id: options.id,
    labels: { name, ...labelsOf(lists.label) },
    tls,
    log,
  }).catch((error) => {
    if (codeOf(error) === 'EADDRINUSE')
      throw new SetupError(`Port ${port} on ${host} is taken; choose another with --port.`);
    throw error;
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

function tlsOf({ 'tls-cert': cert, 'tls-key': key }: Invocation['options']) {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new UsageError('--tls-cert and --tls-key go together');
  try {
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  } catch (error) {
    throw new SetupError(`cannot read the certificate: ${error instanceof Error ? error.message : error}`);
  }
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
  { runnerId, url }: RemoteRunner,
  server: string,
): void {
  if (json) return value({ event: 'registered', runnerId, url, server, pid: process.pid });
  line(`${style.bold('Atoll runner')} ${runnerId} serves ${style.cyan(server)}`);
  line(`  listens on  ${url}`);
  line(style.dim('  Ctrl-C stops it.'));
}
