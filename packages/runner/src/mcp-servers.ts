/** What executors are told of MCP servers: a URL may name the gateway, whose address nobody knows beforehand. */

const GATEWAY = `\${ATOLL_API_URL}`;

/** The settings with the gateway's address where a server's `url` names it; not every executor puts it in by itself. */
export function withGatewayUrl<Settings extends { mcpServers?: Record<string, unknown> }>(
  settings: Settings,
  gatewayUrl: string,
): Settings {
  const { mcpServers } = settings;
  if (mcpServers === undefined) return settings;
  const named = Object.entries(mcpServers).map(([name, server]) => [name, withUrl(server, gatewayUrl)]);
  return { ...settings, mcpServers: Object.fromEntries(named) };
}

function withUrl(server: unknown, gatewayUrl: string): unknown {
  if (typeof server !== 'object' || server === null || !('url' in server)) return server;
  if (typeof server.url !== 'string') return server;
  return { ...server, url: server.url.replace(GATEWAY, () => gatewayUrl) };
}
