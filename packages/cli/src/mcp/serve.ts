/** Atoll as a server of the Model Context Protocol (https://modelcontextprotocol.io) for whoever spawned this process. */
import { AtollError } from '@atoll/protocol/errors';
import { mcpTools } from '@atoll/protocol/mcp-tools';
import { jsonSchema } from '@atoll/protocol/openapi';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CallToolRequestSchema,
  type CallToolResult,
  ErrorCode,
  type JSONRPCMessage,
  ListToolsRequestSchema,
  McpError,
} from '@modelcontextprotocol/sdk/types.js';
import type { JsonLines } from '../json-lines.ts';
import type { Platform } from '../platform.ts';
import { version } from '../version.ts';
import { isTool, type ToolContext, useTool } from './tools.ts';

const INSTRUCTIONS =
  'Runs AI agents as durable sessions in sandboxes. run_agent gives a task to an agent and waits; for conversations use create_session, send_message and wait_for_turn. Everything a session did is in its log (read_events).';

/** Between two progress notifications: a client that waits is told that it is not in vain. */
const PROGRESS_MS = 1000;

/** Resolves when the client is gone. */
export async function serveTools({
  platform,
  lines,
}: {
  platform: Platform;
  lines: JsonLines;
}): Promise<void> {
  const server = new Server(
    { name: 'atoll', title: 'Atoll', version },
    { capabilities: { tools: {} }, instructions: INSTRUCTIONS },
  );
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: Object.entries(mcpTools).map(([name, { description, params, readOnly }]) => ({
      name,
      description,
      inputSchema: { ...jsonSchema(params), type: 'object' as const },
      annotations: { readOnlyHint: readOnly, openWorldHint: !readOnly },
    })),
  }));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, { signal, sendNotification }) => {
    const progressToken = params._meta?.progressToken;
    let told = performance.now();
    const onProgress = (progress: number) => {
      if (progressToken === undefined || performance.now() - told < PROGRESS_MS) return;
      told = performance.now();
      const notification = { method: 'notifications/progress', params: { progressToken, progress } } as const;
      // Whoever does not hear it will not hear the answer, either.
      sendNotification(notification).catch(() => undefined);
    };
    return callTool(params.name, params.arguments ?? {}, { platform, signal, onProgress });
  });
  const closed = new Promise<void>((resolve) => {
    server.onclose = resolve;
  });
  await server.connect(transportOf(lines));
  await closed;
}

async function callTool(name: string, params: unknown, context: ToolContext): Promise<CallToolResult> {
  if (!isTool(name)) throw new McpError(ErrorCode.InvalidParams, `no tool ${name.slice(0, 100)}`);
  try {
    return answer(await useTool(name, params, context));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const { code, detail } = error instanceof AtollError ? error : { code: 'unreachable', detail: message };
    return { ...answer({ code, detail }), isError: true };
  }
}

function answer(result: Record<string, unknown>): CallToolResult {
  return { content: [{ type: 'text', text: JSON.stringify(result) }], structuredContent: result };
}

function transportOf({ messages, send, close }: JsonLines): Transport {
  const transport: Transport = {
    async start() {
      void read();
    },
    send,
    async close() {
      close();
    },
  };

  async function read(): Promise<void> {
    try {
      // The SDK looks at what else there is to a message.
      for await (const message of messages) transport.onmessage?.(message as unknown as JSONRPCMessage);
    } catch (error) {
      // A client whose pipe broke is as gone as one that closed it.
      transport.onerror?.(error instanceof Error ? error : new Error(String(error)));
    } finally {
      transport.onclose?.();
    }
  }

  return transport;
}
