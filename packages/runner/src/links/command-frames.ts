/** The events of a command as SSE frames: the id is the line, and a message is the bytes that the bridge wrote (I3). */
import type { CommandEvent } from '@atoll/protocol/runner-link';
import { sseFrame } from '@atoll/protocol/sse';

export function frameOf(event: CommandEvent): Uint8Array {
  if (event.kind === 'messages') return frameMessages(event);
  const { kind, line, ...data } = event;
  if (kind === 'output') {
    const { stream, text } = event;
    return Buffer.from(sseFrame({ id: line, event: stream, data: JSON.stringify({ text }) }));
  }
  return Buffer.from(sseFrame({ id: line, event: kind, data: JSON.stringify(data) }));
}

/** As a text of one character a byte: joined as fast as bytes are copied, and garbage of the young heap. */
function frameMessages({ line, messages }: CommandEvent & { kind: 'messages' }): Uint8Array {
  const { bytes, spans } = messages;
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let next = line - spans.length / 2 + 1;
  let frames = '';
  for (let i = 0; i < spans.length; i += 2)
    frames += `id: ${next++}\nevent: message\ndata: ${source.toString('latin1', spans[i], spans[i + 1])}\n\n`;
  return Buffer.from(frames, 'latin1');
}
