/** Sessions as an editor lists them: of one agent, by the folder that it had open, with a title. */
import type { ListSessionsRequest, ListSessionsResponse, SessionInfo } from '@agentclientprotocol/sdk';
import type { OperationInput } from '@atoll/protocol/operations';
import type { Session } from '@atoll/protocol/schemas/session';
import type { Platform } from '../platform.ts';
import { asText, fields } from '../render/fields.ts';
import { oneLine } from '../terminal.ts';
import type { ChooseAgent } from './agents.ts';
import type { Content } from './prompt-content.ts';

export type SessionSettings = Pick<OperationInput<'session.create'>, 'model' | 'permissionMode'>;

export type EditorSessions = {
  create(cwd: string): Promise<Session>;
  list(request: ListSessionsRequest): Promise<ListSessionsResponse>;
  /** Names a session after its first prompt; the title, if it was not named before. */
  name(sessionId: string, content: Content): Promise<string | undefined>;
};

/** Where the metadata of a session have what the editor said of it. */
export const EDITOR = 'editor';
const MAX_TITLE_CHARS = 80;

export function createEditorSessions(
  platform: Platform,
  agent: ChooseAgent,
  settings: SessionSettings,
): EditorSessions {
  /** Those that have a title, or had one when they were last looked at. */
  const named = new Set<string>();

  return {
    async create(cwd) {
      const metadata = { [EDITOR]: { cwd } };
      const { session } = await platform.call('session.create', {
        agent: await agent(),
        metadata,
        ...settings,
      });
      return session;
    },
    async list({ cwd, cursor }) {
      const page = cursor == null ? {} : { cursor };
      const { sessions, nextCursor } = await platform.call('session.list', page);
      const all = sessions.filter(isOpen).map(infoOf);
      // Nothing says that a page is full: what is left of it may be nothing.
      return { sessions: cwd == null ? all : all.filter((info) => info.cwd === cwd), nextCursor };
    },
    async name(sessionId, content) {
      if (named.has(sessionId)) return undefined;
      named.add(sessionId);
      const { session } = await platform.call('session.show', { sessionId });
      if (titleOf(session) !== '') return undefined;
      const text = typeof content === 'string' ? content : content[0].text;
      const title = oneLine(text, MAX_TITLE_CHARS);
      await platform.call('session.metadata.update', { sessionId, [EDITOR]: { title } });
      return title;
    },
  };
}

function isOpen({ status, metadata }: Session): boolean {
  return status !== 'ended' && status !== 'failed' && typeof metadata[EDITOR] === 'object';
}

function infoOf(session: Session): SessionInfo {
  const { id: sessionId, updatedAt, metadata, agent } = session;
  const cwd = asText(fields(metadata[EDITOR]).cwd) || '/';
  return { sessionId, cwd, title: titleOf(session) || agent, updatedAt };
}

function titleOf({ metadata }: Session): string {
  return asText(fields(metadata[EDITOR]).title);
}
