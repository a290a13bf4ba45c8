/** A credential as a gateway uses it: which requests it goes on, and the header that it becomes there. */
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import type { CredentialUse } from '@atoll/protocol/schemas/credential';

/** What stands beside a value in its row, and is sealed together with it. */
export type CredentialSettings = CredentialUse & {
  agents?: string[] | undefined;
  methods?: string[] | undefined;
  paths?: string[] | undefined;
};

export function deliver(
  { name, version }: { name: string; version: number },
  settings: CredentialSettings,
  value: string,
): GatewayCredential {
  const { methods, paths } = settings;
  return { name, version, methods, paths, ...used(name, settings, value) };
}

function used(
  name: string,
  settings: CredentialSettings,
  value: string,
): Pick<GatewayCredential, 'target' | 'header' | 'secrets'> {
  const bearer = { name: 'authorization', value: `Bearer ${value}` };
  const secrets = [value];
  switch (settings.kind) {
    case 'header':
      return { target: toHosts(settings), header: filled(settings, value), secrets };
    case 'bearer':
      return { target: toHosts(settings), header: bearer, secrets };
    case 'basic': {
      const encoded = Buffer.from(`${settings.username}:${value}`).toString('base64');
      const header = { name: 'authorization', value: `Basic ${encoded}` };
      return { target: toHosts(settings), header, secrets: [value, encoded] };
    }
    case 'anthropic':
      return {
        target: { at: 'anthropic', url: settings.url },
        header: { name: 'x-api-key', value },
        secrets,
      };
    case 'openai':
      return { target: { at: 'openai', url: settings.url }, header: bearer, secrets };
    case 'mcp':
      return {
        target: { at: 'mcp', server: name, url: settings.url },
        header: filled(settings, value),
        secrets,
      };
  }
}

function toHosts({ hosts }: { hosts: readonly string[] }): GatewayCredential['target'] {
  return { at: 'hosts', hosts };
}

function filled({ header, template }: { header: string; template: string }, value: string) {
  // By a function: in a replacement text, `$&` and the like would mean something.
  return { name: header, value: template.replace('{value}', () => value) };
}
