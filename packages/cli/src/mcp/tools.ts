/** What each tool of `atoll mcp` does with the platform. */
import { type McpToolName, type McpToolParams, mcpTools } from '@atoll/protocol/mcp-tools';
import { parse } from '@atoll/protocol/parse';
import { given } from '../input.ts';
import type { Platform } from '../platform.ts';
import { eventsShown } from './events-shown.ts';
import { waitForTurn } from './waiting.ts';

export type ToolContext = {
  platform: Platform;
  /** Aborts when the caller takes the call back. */
  signal: AbortSignal;
  /** How far a turn's log was read. */
  onProgress: (seq: number) => void;
};

type Result = Record<string, unknown>;
type Tools = { [N in McpToolName]: (params: McpToolParams<N>, context: ToolContext) => Promise<Result> };

const PAGE = 50;

const tools: Tools = {
  async list_agents({ cursor }, { platform, signal }) {
    const page = await platform.call('agent.list', { limit: PAGE, ...given({ cursor }) }, { signal });
    const agents = page.agents.map(({ name, version, updatedAt }) => ({ name, version, updatedAt }));
    return { agents, nextCursor: page.nextCursor };
  },
  async list_sessions(params, { platform, signal }) {
    const page = await platform.call('session.list', { limit: PAGE, ...given(params) }, { signal });
    const sessions = page.sessions.map(({ id, agent, status, cause, turn, createdAt }) => {
      return { sessionId: id, agent, status, cause, turnId: turn, createdAt };
    });
    return { sessions, nextCursor: page.nextCursor };
  },
  async run_agent({ agent, prompt, keep, waitMs, ...settings }, context) {
    const { platform, signal } = context;
    // Not taken back while it is made: nobody would know which session to end.
    const { session } = await platform.call('session.create', { agent, ...given(settings) });
    const { id: sessionId } = session;
    try {
      signal.throwIfAborted();
      const sent = await send(platform, sessionId, prompt);
      const result = await waitForTurn({ ...context, ...sent, waitMs });
      // Taken back, it is nobody's any more.
      const sessionEnded = signal.aborted || (isOver(result.status) && !keep);
      if (sessionEnded) await platform.call('session.end', { sessionId });
      return { ...sent, ...result, sessionEnded };
    } catch (error) {
      // What went wrong is told, and not what went wrong after it.
      if (signal.aborted || !keep) await platform.call('session.end', { sessionId }).catch(() => undefined);
      throw error;
    }
  },
  async create_session({ agent, ...settings }, { platform, signal }) {
    const { session } = await platform.call('session.create', { agent, ...given(settings) }, { signal });
    return { sessionId: session.id, agent: session.agent, status: session.status };
  },
  send_message: ({ sessionId, content }, { platform }) => send(platform, sessionId, content),
  wait_for_turn: (params, context) => waitForTurn({ ...context, ...params }),
  read_result: (params, context) => waitForTurn({ ...context, ...params, waitMs: 0 }),
  async read_events(params, { platform, signal }) {
    const { events } = await platform.call('session.events', params, { signal });
    return eventsShown(events, params.after);
  },
  async interrupt_session(params, { platform, signal }) {
    const { session } = await platform.call('session.interrupt', params, { signal });
    return { sessionId: session.id, status: session.status };
  },
  async end_session(params, { platform, signal }) {
    const { session } = await platform.call('session.end', params, { signal });
    return { sessionId: session.id, status: session.status, cause: session.cause };
  },
};

export function isTool(name: string): name is McpToolName {
  return Object.hasOwn(mcpTools, name);
}

/** Throws AtollError for params that do not fit, and for what the platform refuses. */
export async function useTool(name: McpToolName, params: unknown, context: ToolContext): Promise<Result> {
  // The table pairs every name with its params.
  const use = tools[name] as (params: unknown, context: ToolContext) => Promise<Result>;
  return use(parse(mcpTools[name].params, params), context);
}

async function send(platform: Platform, sessionId: string, content: string) {
  const { turn } = await platform.call('session.send', { sessionId, content });
  return { sessionId, turnId: turn.id, afterSeq: turn.inputSeq };
}

function isOver(status: string): boolean {
  return status === 'completed' || status === 'failed' || status === 'interrupted';
}
