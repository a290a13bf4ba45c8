/** Messages into turns, each once: the same Idempotency-Key with the same body is the same turn. */
import { createHash } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';
import type { OperationParams } from '@atoll/protocol/operations';
import type { Store } from '../store/store.ts';
import type { TurnRow } from '../store/tables.ts';
import type { LiveSession, LiveTurn } from './live-session.ts';
import type { NewTurn } from './new-turn.ts';
import type { StreamedTurn } from './streams.ts';
import type { Turns } from './turns.ts';

export type Sending = {
  /** Resolves when the input is durable. Rejects as Turns.accept does, and with `idempotency_conflict`. */
  send(
    session: LiveSession,
    params: OperationParams<'session.send'>,
    traceparent: string,
  ): Promise<StreamedTurn>;
};

export function createSending({ store, turns }: { store: Store; turns: Turns }): Sending {
  /** Being accepted right now, by session and key: their rows are not there yet. */
  const accepting = new Map<string, { hash: string; turn: Promise<LiveTurn> }>();

  async function sendOnce(
    session: LiveSession,
    request: Omit<NewTurn, 'traceparent'>,
    idempotencyKey: string,
    traceparent: string,
  ): Promise<StreamedTurn> {
    const hash = createHash('sha256').update(JSON.stringify(request)).digest('hex');
    const query = store.sql
      .selectFrom('turns')
      .selectAll()
      .where('session_id', '=', session.id)
      .where('idempotency_key', '=', idempotencyKey);
    const row = await store.first(query);
    const key = `${session.id} ${idempotencyKey}`;
    const under = accepting.get(key);
    if ((row && row.request_hash !== hash) || (under && under.hash !== hash))
      throw new AtollError('idempotency_conflict');
    if (under) return under.turn;
    if (row) return session.turns.get(row.id) ?? finished(row);
    const turn = turns.accept(session, { ...request, traceparent, idempotencyKey, requestHash: hash });
    accepting.set(key, { hash, turn });
    return turn.finally(() => accepting.delete(key));
  }

  return {
    send(session, { sessionId: _, idempotencyKey, content, when, ...rest }, traceparent) {
      const options = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
      const request = { content, options, when };
      return idempotencyKey === undefined
        ? turns.accept(session, { ...request, traceparent })
        : sendOnce(session, request, idempotencyKey, traceparent);
    },
  };
}

function finished(row: TurnRow): StreamedTurn {
  const { id, input_seq: inputSeq, start_seq: startSeq, done_seq: doneSeq, status } = row;
  const seqs = { inputSeq, startSeq: startSeq ?? undefined, doneSeq: doneSeq ?? undefined };
  return { id, ...seqs, waited: true, ended: status };
}
