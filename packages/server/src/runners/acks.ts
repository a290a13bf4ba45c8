/** Acknowledgements on their way to a runner, gathered: of each command the last line is told, and nobody waits for it. */
import type { RunnerLink } from '@atoll/protocol/runner-link';

export type Ack = Parameters<RunnerLink['acknowledge']>[0];

export type Acks = {
  add(ack: Ack): void;
  /** So much came that will be acknowledged. */
  came(bytes: number): void;
  close(): void;
};

export type AcksOptions = {
  /** They are gathered for so long, */
  afterMs: number;
  /** or until so much came since the last ones. */
  afterBytes?: number;
  /** Resolves when the next ones may go. */
  send: (acks: readonly Ack[]) => Promise<unknown>;
};

export function createAcks({ afterMs, afterBytes = Number.POSITIVE_INFINITY, send }: AcksOptions): Acks {
  const waiting = new Map<string, Ack>();
  let timer: NodeJS.Timeout | undefined;
  let sending = false;
  let closed = false;
  let cameBytes = 0;

  async function sendAll(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    sending = true;
    while (waiting.size > 0 && !closed) {
      const all = [...waiting.values()];
      waiting.clear();
      cameBytes = 0;
      await send(all);
    }
    sending = false;
  }

  return {
    add(ack) {
      const known = waiting.get(ack.commandId);
      waiting.set(ack.commandId, { ...ack, line: Math.max(ack.line, known?.line ?? 0) });
      if (sending || closed) return;
      if (cameBytes > afterBytes) void sendAll();
      else timer ??= setTimeout(() => void sendAll(), afterMs);
    },
    came(bytes) {
      cameBytes += bytes;
    },
    close() {
      closed = true;
      clearTimeout(timer);
      waiting.clear();
    },
  };
}
