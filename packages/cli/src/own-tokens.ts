/** What this machine shows to a coordinator: a token of the OIDC issuer where it is a client of one, else an API key. */
import { createOidcTokens, keyTokens, type TokenSource } from '@atoll/runner/own-tokens';
import type { Logger } from '@atoll/server';
import { keyFor } from './connect.ts';
import { UsageError } from './failure.ts';
import { readSecret } from './secret-input.ts';
import type { Config } from './settings.ts';
import type { Terminal } from './terminal.ts';

export async function ownTokens(
  config: Config,
  terminal: Pick<Terminal, 'note'>,
  logger: Logger,
): Promise<TokenSource> {
  const { oidcClientId: clientId, oidcIssuer: issuer, oidcAudience: audience, oidcScope: scope } = config;
  if (clientId === undefined) {
    const { runnerKey, runnerKeyFile } = config;
    const kept = runnerKeyFile === undefined ? undefined : await readSecret(runnerKeyFile, terminal);
    const key = runnerKey ?? kept ?? keyFor(config);
    if (key === undefined)
      throw new UsageError('give a key with the role runner by ATOLL_RUNNER_KEY, --key-file or --key');
    return keyTokens(key);
  }
  if (issuer === undefined) throw new UsageError('--oidc-client-id needs --oidc-issuer');
  const clientSecret = await clientSecretOf(config, terminal);
  return createOidcTokens({ client: { issuer, clientId, clientSecret, audience, scope }, logger });
}

async function clientSecretOf(
  { oidcClientSecret, oidcClientSecretFile }: Config,
  terminal: Pick<Terminal, 'note'>,
): Promise<string> {
  if (oidcClientSecret !== undefined) return oidcClientSecret;
  if (oidcClientSecretFile !== undefined) return readSecret(oidcClientSecretFile, terminal);
  throw new UsageError('--oidc-client-id needs ATOLL_OIDC_CLIENT_SECRET or --oidc-client-secret-file');
}
