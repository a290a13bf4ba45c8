/**
 * What a gateway let pass and refused, on its way to the session's log: in batches, one at a time. A flood of requests
 * fills neither memory nor log (I9): what there is no room for is counted, and the count is said.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { AccessReport } from '@atoll/protocol/runner-link';
import { type AccessRecord, maxAccessRecords } from '@atoll/protocol/schemas/access';
import type { Logger } from '../logger.ts';

export type AccessLog = {
  /** Of something that ended, or was refused. */
  add(record: AccessRecord): void;
  /** Resolves when all that was added is where it belongs, or nobody will take it. */
  close(): Promise<void>;
};

const MAX_WAITING = 1000;
/** Between two batches, so at most 1,000 records a second. */
const PAUSE_MS = 100;
const PAUSES_WHEN_FAILED = 50;

export type AccessLogOptions = {
  send(report: Pick<AccessReport, 'records' | 'dropped'>): Promise<void>;
  logger: Logger;
  pauseMs?: number;
};

export function createAccessLog({ send, logger, pauseMs = PAUSE_MS }: AccessLogOptions): AccessLog {
  const waiting: AccessRecord[] = [];
  const closing = new AbortController();
  let dropped = 0;
  let over = false;
  let sending: Promise<void> | undefined;

  /** Never rejects. */
  async function sendAll(): Promise<void> {
    while (waiting.length > 0 || dropped > 0) {
      const records = waiting.splice(0, maxAccessRecords);
      const missed = dropped;
      dropped = 0;
      const failed = await trySending(records, missed);
      if (failed && (over || closing.signal.aborted)) return;
      await pause(failed ? pauseMs * PAUSES_WHEN_FAILED : pauseMs);
    }
  }

  async function trySending(records: readonly AccessRecord[], missed: number): Promise<boolean> {
    try {
      await send({ records, dropped: missed });
      return false;
    } catch (error) {
      dropped += records.length + missed;
      over ||= error instanceof AtollError && error.status < 500;
      logger.warn({ err: error, dropped }, 'the log of a session did not take what its gateway did');
      return true;
    }
  }

  async function pause(ms: number): Promise<void> {
    const { signal } = closing;
    await delay(ms, undefined, { signal, ref: false }).catch(() => undefined); // closed: no more pauses
  }

  function start(): void {
    if (sending || over) return;
    sending = sendAll().finally(() => {
      sending = undefined;
    });
  }

  return {
    add(record) {
      if (waiting.length < MAX_WAITING) waiting.push(record);
      else dropped++;
      start();
    },
    async close() {
      closing.abort();
      await sending;
      start();
      await sending;
    },
  };
}
