/** The `session.event` notifications, which come by the hundred thousand: cut out of their lines, not parsed (I3). */
import * as v from 'valibot';
import type { StreamEvent } from '../stream-event.ts';

export type EventLine = StreamEvent & { sessionId: string };

const HEAD = Buffer.from('{"jsonrpc":"2.0","method":"session.event","params":{"sessionId":"');
const LINE = /^([^"\\]+)","seq":(\d+),"event":"([^"\\]+)","data":(.*)\}\}$/s;

/** undefined: not such a line. Its members stand in the order of docs/worker.md, so that `data` stays as it was received. */
export function readEventLine(line: Buffer): EventLine | undefined {
  if (line.length < HEAD.length || HEAD.compare(line, 0, HEAD.length) !== 0) return undefined;
  const [, sessionId = '', seq, event = '', text = ''] = LINE.exec(line.toString('utf8', HEAD.length)) ?? [];
  return seq === undefined ? undefined : { sessionId, seq: Number(seq), event, text };
}

const event = v.pipe(
  v.object({ sessionId: v.string(), seq: v.number(), event: v.string(), data: v.unknown() }),
  v.transform(({ data, ...rest }): EventLine => ({ ...rest, text: JSON.stringify(data) })),
);

/** Of a notification whose members stand in any other order, or with spaces: its data are made anew. */
export function readEvent(params: unknown): EventLine {
  return v.parse(event, params);
}
