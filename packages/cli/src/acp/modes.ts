/**
 * What becomes of an agent's permission requests, as the editor chose it for a session: they are put to the editor, or
 * answered by its choice. The choice stands in the session's metadata, so it holds when the session is loaded again.
 */
import type { SessionMode, SessionModeState } from '@agentclientprotocol/sdk';
import { AtollError } from '@atoll/protocol/errors';
import type { Session } from '@atoll/protocol/schemas/session';
import type { Platform } from '../platform.ts';
import { asText, fields } from '../render/fields.ts';

export type ModeId = 'ask' | 'allow' | 'deny';

export type Modes = {
  /** As the session's metadata have it; known from then on. */
  of(session: Pick<Session, 'id' | 'metadata'>): SessionModeState;
  /** Of a session that was not looked at yet: `ask`. */
  current(sessionId: string): ModeId;
  /** Rejects with `invalid_request` for a mode that is none. Permission requests from then on go by it. */
  set(sessionId: string, modeId: string): Promise<void>;
};

const availableModes: (SessionMode & { id: ModeId })[] = [
  { id: 'ask', name: 'Ask', description: 'Whatever the agent asks permission for is put to you' },
  { id: 'allow', name: 'Allow', description: 'Whatever the agent asks permission for is allowed' },
  { id: 'deny', name: 'Deny', description: 'Whatever the agent asks permission for is denied' },
];

export function createModes(platform: Platform, metadataName: string): Modes {
  const chosen = new Map<string, ModeId>();
  const current = (sessionId: string) => chosen.get(sessionId) ?? 'ask';

  return {
    of({ id, metadata }) {
      const kept = modeNamed(asText(fields(metadata[metadataName]).mode));
      if (kept !== undefined && !chosen.has(id)) chosen.set(id, kept);
      return { availableModes, currentModeId: current(id) };
    },
    current,
    async set(sessionId, modeId) {
      const mode = modeNamed(modeId);
      if (mode === undefined)
        throw new AtollError('invalid_request', `there is no mode ${modeId}: it must be ask, allow or deny`);
      await platform.call('session.metadata.update', { sessionId, [metadataName]: { mode } });
      chosen.set(sessionId, mode);
    },
  };
}

function modeNamed(id: string): ModeId | undefined {
  return availableModes.find((mode) => mode.id === id)?.id;
}
