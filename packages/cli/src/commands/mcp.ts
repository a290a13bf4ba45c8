/** The composition root of `atoll mcp`: an MCP server for the agent that spawned this process. Stdout carries MCP alone. */
import type { Invocation } from '../invocation.ts';
import { createJsonLines } from '../json-lines.ts';
import { serveTools } from '../mcp/serve.ts';
import { withPlatform } from '../platform.ts';
import { stdioChannel } from '../worker/stdio.ts';

export async function run(invocation: Invocation): Promise<void> {
  await withPlatform(invocation, async (platform) => {
    const lines = createJsonLines(stdioChannel());
    try {
      await serveTools({ platform, lines });
    } finally {
      lines.close();
    }
  });
}
