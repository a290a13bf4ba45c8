/**
 * Partial messages: pieces of what a later message of the same turn holds in full, which executors write when a turn asks
 * for them. They are known by how they begin, as the executor of that kind writes them; of another kind, whose messages
 * are its own, none is known.
 */
import type { ExecutorKind } from '@atoll/protocol/executor-kinds';
import type { FramedEvent } from './frames.ts';

const beginnings: Partial<Record<ExecutorKind, RegExp>> = {
  claude: /^\{"type":"stream_event"/,
  // Not what a command put out: the item that ends it may hold less of that.
  codex: /^\{"method":"item\/(agentMessage|reasoning)\/\w{0,40}[dD]elta","params":\{/,
};
const HEAD_BYTES = 120;

/** undefined: no message of that kind is partial. */
export function partialsOf(
  kind: ExecutorKind | undefined,
): ((event: Pick<FramedEvent, 'event' | 'data'>) => boolean) | undefined {
  const beginning = kind && beginnings[kind];
  return beginning && (({ event, data }) => event === 'message' && beginning.test(headOf(data)));
}

function headOf(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, Math.min(data.length, HEAD_BYTES)).toString('latin1');
}
