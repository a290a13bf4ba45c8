/** Tells the editor what stands in a session's log: as it comes, or, of what was before, as it was. */
import type { AgentContext } from '@agentclientprotocol/sdk';
import { eventData, type StreamEvent } from '@atoll/client';
import type { EventData } from '@atoll/protocol/events';
import type { Platform } from '../platform.ts';
import type { ModeId } from './modes.ts';
import { createPermissions } from './permissions.ts';
import { blocksOf } from './prompt-content.ts';
import { createToolCalls } from './tool-calls.ts';
import { createUpdates, type Told } from './updates.ts';

export type Teller = {
  /** An event of a turn that runs, whose approvals are asked. Resolves when the editor took it; rejects when it is gone. */
  live(event: StreamEvent): Promise<void>;
  /** An event of the past. */
  past(event: StreamEvent): Promise<void>;
  /** Asks what the past left open. */
  goLive(): void;
  /** As the executor's last `result` says. */
  readonly stopReason: string | undefined;
  /** Takes back what is asked. */
  close(): void;
};

export type TellerOptions = {
  platform: Platform;
  client: AgentContext;
  sessionId: string;
  /** Whether the editor has forms. */
  forms: boolean;
  /** What the editor chose for this session. */
  mode: () => ModeId;
  /** The editor ended the turn in place of an answer. */
  onCancelled: () => void;
};

export function createTeller(options: TellerOptions): Teller {
  const { client, sessionId } = options;
  const updates = createUpdates();
  const calls = createToolCalls();
  const permissions = createPermissions({ ...options, calls });
  const unanswered = new Map<string, EventData<'approval'>>();

  async function tell(told: readonly Told[]): Promise<void> {
    for (const each of told) {
      calls.note(each);
      await client.notify('session/update', { ...each, sessionId });
    }
  }

  return {
    async live(event) {
      if (event.event === 'message') return tell(updates.of(event.text));
      const approval = eventData(event, 'approval');
      if (approval !== undefined) permissions.tell(approval);
    },
    async past(event) {
      // What the agent repeats of the message stands in the log as the message itself.
      if (event.event === 'message') return tell(updates.of(event.text).filter((told) => !isUsers(told)));
      const input = eventData(event, 'input');
      if (input !== undefined)
        return tell(
          blocksOf(input.content).map((content) => ({
            update: { sessionUpdate: 'user_message_chunk', content },
          })),
        );
      const approval = eventData(event, 'approval');
      if (approval?.status === 'requested') unanswered.set(approval.approvalId, approval);
      else if (approval !== undefined) unanswered.delete(approval.approvalId);
    },
    goLive() {
      for (const approval of unanswered.values()) permissions.tell(approval);
      unanswered.clear();
    },
    get stopReason() {
      return updates.stopReason;
    },
    close: () => permissions.close(),
  };
}

function isUsers({ update }: Told): boolean {
  return update.sessionUpdate === 'user_message_chunk';
}
