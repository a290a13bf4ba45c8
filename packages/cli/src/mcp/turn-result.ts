/** What a turn has come to, for an agent that started it: how it stands, and what was said, in bounds. */
import { eventData, type StreamEvent } from '@atoll/client';
import { createUpdates } from '../acp/updates.ts';
import { createText, type TextPiece } from './text-piece.ts';

export type TurnResult = TextPiece & {
  status: 'queued' | 'running' | 'waiting' | 'completed' | 'failed' | 'interrupted';
  cause?: string;
  detail?: string;
  usage?: Record<string, unknown>;
  /** What a person has to decide before it goes on. */
  approvals?: { approvalId: string; tool: string }[];
};

export type TurnReader = {
  /** Takes the events of the session's log after the turn's input, in order. */
  take(event: StreamEvent): void;
  readonly ended: boolean;
  result(): TurnResult;
};

/** `offset`: where in all of what it said to begin; without it, the end is shown. */
export function createTurnReader(turnId: string, offset: number | undefined): TurnReader {
  const updates = createUpdates();
  const text = createText(offset);
  const open = new Map<string, { approvalId: string; tool: string }>();
  let current: string | undefined;
  let started = false;
  let done: Pick<TurnResult, 'status' | 'cause' | 'detail' | 'usage'> | undefined;

  function takeDone(event: StreamEvent): void {
    const data = eventData(event, 'done');
    if (data?.turnId !== turnId) return;
    const { status, cause, detail, usage } = data;
    done = { status, ...(cause && { cause }), ...(detail && { detail }), ...(usage && { usage }) };
  }

  return {
    take(event) {
      // A session runs one turn at a time (I4): an event without a turn's id is of the one that started last.
      current = eventData(event, 'status')?.turnId ?? current;
      takeDone(event);
      if (current !== turnId) return;
      started = true;
      if (event.event === 'message')
        for (const { update } of updates.of(event.text))
          if (update.sessionUpdate === 'agent_message_chunk' && update.content.type === 'text')
            text.add(update.content.text);
      const approval = eventData(event, 'approval');
      if (approval?.status === 'requested')
        open.set(approval.approvalId, { approvalId: approval.approvalId, tool: approval.tool });
      else if (approval) open.delete(approval.approvalId);
    },
    get ended() {
      return done !== undefined;
    },
    result() {
      const piece = text.piece();
      if (done) return { ...done, ...piece };
      if (open.size > 0) return { status: 'waiting', approvals: [...open.values()], ...piece };
      return { status: started ? 'running' : 'queued', ...piece };
    },
  };
}
