import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withGatewayUrl } from './mcp-servers.ts';

const placeholder = `\${ATOLL_API_URL}`;

test('a server’s URL that names the gateway gets its address, and nothing else is touched', () => {
  const mcpServers = {
    remote: { type: 'http', url: `${placeholder}/mcp/remote`, headers: { 'x-a': placeholder } },
    local: { command: 'node', args: [placeholder] },
    elsewhere: { url: 'https://mcp.example.com/mcp' },
    odd: [1],
  };
  const told = withGatewayUrl({ kind: 'acp', mcpServers }, 'http://127.0.0.1:1/s/$&');
  assert.deepEqual(told, {
    kind: 'acp',
    mcpServers: {
      ...mcpServers,
      remote: { ...mcpServers.remote, url: 'http://127.0.0.1:1/s/$&/mcp/remote' },
    },
  });
  const without: { mcpServers?: Record<string, unknown> } = {};
  assert.equal(withGatewayUrl(without, 'http://x'), without);
});
