/**
 * Partial messages: pieces of what a later message of the same turn holds in full, which executors write when a turn asks
 * for them. They are known by how they begin, as their executors write them.
 */
import type { FramedEvent } from './frames.ts';

const CLAUDE = '{"type":"stream_event"';
/** Of Codex: a notification whose method ends in `delta`. */
const CODEX = /^\{"method":"[\w/]{1,80}[dD]elta","params":\{/;
const HEAD_BYTES = 120;

export function isPartial({ event, data }: Pick<FramedEvent, 'event' | 'data'>): boolean {
  if (event !== 'message') return false;
  const head = Buffer.from(data.buffer, data.byteOffset, Math.min(data.length, HEAD_BYTES)).toString(
    'latin1',
  );
  return head.startsWith(CLAUDE) || CODEX.test(head);
}
