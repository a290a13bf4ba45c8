/** The tools of `atoll mcp`, each declared once: what it is for, and what it takes. */
import * as v from 'valibot';
import { agentName, id, label, seq } from './schemas/common.ts';
import { permissionMode } from './schemas/session.ts';
import { sessionStatuses } from './statuses.ts';

export type McpTool = {
  description: string;
  /** Changes nothing. */
  readOnly: boolean;
  params: v.StrictObjectSchema<v.ObjectEntries, undefined>;
};

/** Under the minute after which most clients give a call up. */
const DEFAULT_WAIT_MS = 45_000;
const MAX_WAIT_MS = 600_000;
const MAX_EVENTS = 200;

const sessionId = id('session');
const turn = {
  sessionId,
  turnId: v.pipe(id('turn'), v.description('As send_message or run_agent told it')),
  afterSeq: v.optional(
    v.pipe(seq, v.description('As it came with the turn: reading begins there, which is quicker')),
    0,
  ),
  offset: v.optional(
    v.pipe(seq, v.description('Where in the whole text to begin (default: its end is shown)')),
  ),
};
const waitMs = v.optional(
  v.pipe(
    v.number(),
    v.integer(),
    v.minValue(0),
    v.maxValue(MAX_WAIT_MS),
    v.description(`Milliseconds to wait at most (default ${DEFAULT_WAIT_MS})`),
  ),
  DEFAULT_WAIT_MS,
);
const content = v.pipe(v.string(), v.minLength(1), v.description('What to tell the agent'));
const settings = {
  agent: v.pipe(agentName, v.description('Agent, by its name')),
  model: v.optional(v.pipe(label, v.description('Model to use instead of the agent’s'))),
  permissionMode: v.optional(permissionMode),
};
const cursor = v.optional(v.pipe(label, v.description('nextCursor of the page before')));

export const mcpTools = {
  list_agents: {
    description: 'Lists the agents that can be run.',
    readOnly: true,
    params: v.strictObject({ cursor }),
  },
  list_sessions: {
    description: 'Lists sessions, newest first.',
    readOnly: true,
    params: v.strictObject({
      agent: v.optional(agentName),
      status: v.optional(v.picklist(sessionStatuses)),
      cursor,
    }),
  },
  run_agent: {
    description:
      'Opens a session with an agent, gives it a task, and waits for the answer. The session ends with its turn, unless it is kept; a turn that takes longer goes on, and wait_for_turn tells of it.',
    readOnly: false,
    params: v.strictObject({
      ...settings,
      prompt: content,
      keep: v.optional(v.pipe(v.boolean(), v.description('Leave the session open for more messages')), false),
      waitMs,
    }),
  },
  create_session: {
    description: 'Opens a session with an agent: a conversation, and a sandbox with a workspace of its own.',
    readOnly: false,
    params: v.strictObject(settings),
  },
  send_message: {
    description: 'Sends a message to a session, and does not wait: wait_for_turn does.',
    readOnly: false,
    params: v.strictObject({ sessionId, content }),
  },
  wait_for_turn: {
    description:
      'Waits until a turn is over, or a person has to decide, or the time is up; tells what it has come to.',
    readOnly: true,
    params: v.strictObject({ ...turn, waitMs }),
  },
  read_result: {
    description:
      'Tells what a turn has come to by now, without waiting. A long text is read piece by piece, by its offset.',
    readOnly: true,
    params: v.strictObject(turn),
  },
  read_events: {
    description:
      'Reads a page of a session’s log: everything that its agent did and said. Long events are cut.',
    readOnly: true,
    params: v.strictObject({
      sessionId,
      after: v.optional(v.pipe(seq, v.description('Only what comes after this seq')), 0),
      limit: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_EVENTS)), 50),
    }),
  },
  interrupt_session: {
    description: 'Stops the running turn of a session; the session stays.',
    readOnly: false,
    params: v.strictObject({ sessionId }),
  },
  end_session: {
    description: 'Ends a session and frees its sandbox; its log stays readable.',
    readOnly: false,
    params: v.strictObject({ sessionId }),
  },
} as const satisfies Readonly<Record<string, McpTool>>;

export type McpToolName = keyof typeof mcpTools;
export type McpToolParams<N extends McpToolName> = v.InferOutput<(typeof mcpTools)[N]['params']>;
