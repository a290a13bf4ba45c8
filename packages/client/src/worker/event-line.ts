/** The `session.event` notifications, which come by the hundred thousand: cut out of their lines, not parsed (I3). */
import * as v from 'valibot';
import type { StreamEvent } from '../stream-event.ts';

export type EventLine = StreamEvent & { sessionId: string };

const HEAD = '{"jsonrpc":"2.0","method":"session.event","params":{"sessionId":"';
const UP_TO_DATA = /([^"\\]+)","seq":(\d+),"event":"([^"\\]+)","data":/y;
const END = '}}';

/** undefined: not such a line. Its members stand in the order of docs/worker.md, so that `data` stays as it was received. */
export function readEventLine(line: string): EventLine | undefined {
  if (!line.startsWith(HEAD) || !line.endsWith(END)) return undefined;
  UP_TO_DATA.lastIndex = HEAD.length;
  const [, sessionId = '', seq, event = ''] = UP_TO_DATA.exec(line) ?? [];
  if (seq === undefined) return undefined;
  return { sessionId, seq: Number(seq), event, text: line.slice(UP_TO_DATA.lastIndex, -END.length) };
}

const event = v.pipe(
  v.object({ sessionId: v.string(), seq: v.number(), event: v.string(), data: v.unknown() }),
  v.transform(({ data, ...rest }): EventLine => ({ ...rest, text: JSON.stringify(data) })),
);

/** Of a notification whose members stand in any other order, or with spaces: its data are made anew. */
export function readEvent(params: unknown): EventLine {
  return v.parse(event, params);
}
