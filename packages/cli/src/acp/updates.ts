/**
 * An executor's message as updates of an ACP session. Which executor it is shows in the message's own shape. Total: there
 * is no message that breaks it, and one that it does not know says nothing.
 */
import type { SessionNotification, SessionUpdate } from '@agentclientprotocol/sdk';
import { asText, type Fields, fields } from '../render/fields.ts';
import { createClaudeUpdates, say } from './claude-updates.ts';
import { createCodexUpdates } from './codex-updates.ts';

/** A `session/update` but for the session that it is of. */
export type Told = Omit<SessionNotification, 'sessionId'>;

export type Updates = {
  of(text: string): Told[];
  /** Why the model stopped, as the executor's last `result` says. */
  readonly stopReason: string | undefined;
};

const CLAUDE = ['assistant', 'user', 'stream_event', 'system', 'result'];

export function createUpdates(): Updates {
  const claude = createClaudeUpdates();
  const codex = createCodexUpdates();
  let stopReason: string | undefined;

  function updatesOf(message: Fields): SessionUpdate[] {
    const { method, type } = message;
    if (typeof method === 'string') return codex(method, fields(message.params));
    if (type === 'result') stopReason = asText(message.stop_reason) || undefined;
    if (CLAUDE.includes(asText(type))) return claude(message);
    // A program's own messages are lines, as they are on a terminal.
    const text = asText(message.text) || asText(message.message);
    return text === '' ? [] : say('agent_message_chunk', `${text}\n`);
  }

  return {
    of(text) {
      try {
        const { sessionId: _, ...message } = fields(JSON.parse(text));
        // An ACP agent's own words, as they are.
        if (typeof fields(message.update).sessionUpdate === 'string') return [message as Told];
        return updatesOf(message).map((update) => ({ update }));
      } catch {
        // No JSON after all: the log has it, an editor could not show it.
        return [];
      }
    },
    get stopReason() {
      return stopReason;
    },
  };
}
