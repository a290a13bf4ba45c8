/** What the access log says of a call that a row sends on, or refuses: made from what passes. */
import type { ErrorCode } from '@atoll/protocol/errors';
import type { AccessRecord } from '@atoll/protocol/schemas/access';
import type { Watch } from './relay.ts';

export type AccessWatch = Watch & {
  /** Before it ends: why there was no answer. */
  failed(code: ErrorCode): void;
  /** Instead of being watched: it goes no further. */
  refused(code: ErrorCode): void;
};

export function watchAccess(options: {
  via: AccessRecord['via'];
  method: string;
  base: URL;
  /** Absent for the runner's own key. */
  credential: string | undefined;
  record: (record: AccessRecord) => void;
  now?: () => number;
}): AccessWatch {
  const { via, method, base, credential, record, now = Date.now } = options;
  const startMs = now();
  let seen: Pick<AccessRecord, 'code' | 'status'> = {};
  let sentBytes = 0;
  let receivedBytes = 0;

  function end(decision: AccessRecord['decision']): void {
    record({
      time: new Date(startMs).toISOString(),
      via,
      method,
      host: base.hostname.replace(/^\[|\]$/g, ''),
      port: Number(base.port) || (base.protocol === 'https:' ? 443 : 80),
      decision,
      ...seen,
      ...(credential === undefined ? {} : { credential }),
      sentBytes,
      receivedBytes,
      durationMs: Math.max(0, now() - startMs),
    });
  }

  return {
    sent(bytes) {
      sentBytes += bytes;
    },
    answered(status) {
      seen = { status };
    },
    received(chunk) {
      receivedBytes += chunk.length;
    },
    ended: () => end('allowed'),
    failed(code) {
      seen = { code };
    },
    refused(code) {
      seen = { code };
      end('refused');
    },
  };
}

/** Two that see the same call. */
export function both(one: Watch, other: Watch): Watch {
  return {
    sent(bytes) {
      one.sent(bytes);
      other.sent(bytes);
    },
    answered(status, headers) {
      one.answered(status, headers);
      other.answered(status, headers);
    },
    received(chunk) {
      one.received(chunk);
      other.received(chunk);
    },
    ended() {
      one.ended();
      other.ended();
    },
  };
}
