/**
 * Atoll as an agent of the Agent Client Protocol (https://agentclientprotocol.com, version 1) for the editor that spawned
 * this process. A session of the editor is a session of Atoll, under the same id.
 */
import { type AgentContext, agent, PROTOCOL_VERSION, type Stream } from '@agentclientprotocol/sdk';
import type { JsonLines } from '../json-lines.ts';
import type { Platform } from '../platform.ts';
import { version } from '../version.ts';
import type { ChooseAgent } from './agents.ts';
import { createModes } from './modes.ts';
import { contentOf } from './prompt-content.ts';
import { createPrompts, type Prompts } from './prompts.ts';
import { createEditorSessions, EDITOR, type SessionSettings } from './sessions.ts';
import { requestError } from './turn-end.ts';

/** Resolves when the editor is gone. */
export async function serveEditor(options: {
  platform: Platform;
  lines: JsonLines;
  agent: ChooseAgent;
  settings: SessionSettings;
}): Promise<void> {
  const { platform, lines, settings } = options;
  const sessions = createEditorSessions(platform, options.agent, settings);
  const modes = createModes(platform, EDITOR);
  const gone = new AbortController();
  let prompts: Prompts | undefined;

  const app = agent({ name: 'atoll' })
    .onRequest('initialize', ({ params, client }) => {
      const forms = params.clientCapabilities?.elicitation?.form != null;
      prompts = createPrompts({ platform, client, forms, modes, gone: gone.signal });
      return {
        protocolVersion: PROTOCOL_VERSION,
        agentInfo: { name: 'atoll', title: 'Atoll', version },
        agentCapabilities: {
          loadSession: true,
          promptCapabilities: { image: true, embeddedContext: true },
          sessionCapabilities: { list: {}, resume: {}, close: {} },
        },
        authMethods: [],
      };
    })
    .onRequest('session/new', ({ params }) =>
      asked(async () => {
        const session = await sessions.create(params.cwd);
        return { sessionId: session.id, modes: modes.of(session) };
      }),
    )
    .onRequest('session/load', ({ params }) =>
      asked(async () => {
        const { sessionId } = params;
        const { session } = await platform.call('session.show', { sessionId });
        const found = modes.of(session);
        await prompts?.replay(sessionId);
        return { modes: found };
      }),
    )
    .onRequest('session/resume', ({ params: { sessionId } }) =>
      asked(async () => {
        const { session } = await platform.call('session.show', { sessionId });
        return { modes: modes.of(session) };
      }),
    )
    .onRequest('session/set_mode', ({ params: { sessionId, modeId } }) =>
      asked(async () => {
        await modes.set(sessionId, modeId);
        return {};
      }),
    )
    .onRequest('session/list', ({ params }) => asked(() => sessions.list(params)))
    .onRequest('session/close', ({ params: { sessionId } }) =>
      asked(async () => {
        await prompts?.cancel(sessionId);
        return {};
      }),
    )
    .onRequest('session/prompt', ({ params: { sessionId, prompt }, signal, client }) =>
      asked(async () => {
        if (!prompts) throw new Error('initialize comes first');
        const content = contentOf(prompt);
        const named = sessions.name(sessionId, content).then(
          (title) => tellTitle(client, sessionId, title),
          // A session without a title is no reason to refuse its prompt.
          () => undefined,
        );
        const [stopReason] = await Promise.all([prompts.run({ sessionId, content, signal }), named]);
        return { stopReason };
      }),
    )
    .onNotification('session/cancel', ({ params }) => prompts?.cancel(params.sessionId));

  const connection = app.connect(streamOf(lines));
  connection.signal.addEventListener('abort', () => gone.abort(), { once: true });
  await connection.closed;
}

async function tellTitle(client: AgentContext, sessionId: string, title: string | undefined): Promise<void> {
  if (title === undefined) return;
  await client.notify('session/update', {
    sessionId,
    update: { sessionUpdate: 'session_info_update', title },
  });
}

async function asked<T>(answer: () => Promise<T>): Promise<T> {
  try {
    return await answer();
  } catch (error) {
    throw requestError(error);
  }
}

function streamOf({ messages, send }: JsonLines): Stream {
  return {
    // Lines that are JSON-RPC objects; the SDK tells what is wrong with any other member.
    readable: ReadableStream.from(messages) as Stream['readable'],
    writable: new WritableStream({ write: (message) => send(message) }),
  };
}
