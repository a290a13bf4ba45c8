import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Scrubber } from './scrubber.ts';

/**
 * The body of an answer whose head is out already, scrubbed and paced by who takes it; cut where it was cut. By hand: a
 * pipeline of streams would keep twice the memory for each answer that is under way.
 */
export function passBody(
  reply: IncomingMessage,
  response: ServerResponse,
  { pass, rest }: Pick<Scrubber, 'pass' | 'rest'>,
  received?: (chunk: Buffer) => void,
): void {
  reply.on('data', (chunk: Buffer) => {
    received?.(chunk);
    const clean = pass(chunk);
    if (clean.length > 0 && !response.write(clean)) reply.pause();
  });
  response.on('drain', () => reply.resume());
  reply.on('end', () => response.end(rest()));
  reply.on('close', () => {
    if (!reply.complete && !response.writableEnded) response.destroy();
  });
}
