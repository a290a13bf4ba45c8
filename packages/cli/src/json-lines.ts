/**
 * JSON-RPC messages with whoever spawned this process, one a line, for the protocols that have an SDK of their own (ACP,
 * MCP). What is no message is answered and forgotten: garbage, a batch, a line of more than 32 MiB.
 */
import { isUtf8 } from 'node:buffer';
import { rpcCodes } from '@atoll/protocol/json-rpc';
import { createLinesIn } from '@atoll/protocol/lines-in';
import type { HostChannel } from '@atoll/server';

export type Message = { jsonrpc: '2.0'; [member: string]: unknown };

export type JsonLines = {
  /** Ends with the channel's input. */
  readonly messages: AsyncIterable<Message>;
  /** Resolves when there is room for more; rejects when the other side is gone. */
  send(message: object): Promise<void>;
  close(): void;
};

export function createJsonLines(channel: HostChannel): JsonLines {
  let sending: Promise<void> = Promise.resolve();

  function send(message: object): Promise<void> {
    const sent = sending.then(() => channel.write(Buffer.from(`${JSON.stringify(message)}\n`)));
    sending = sent.catch(() => undefined);
    return sent;
  }

  function refuse(code: number, message: string): void {
    // When the other side is gone, nobody misses the answer.
    send({ jsonrpc: '2.0', id: null, error: { code, message } }).catch(() => undefined);
  }

  async function* messages(): AsyncGenerator<Message> {
    let read: Message[] = [];
    const lines = createLinesIn({
      onLine(line) {
        const message = messageOf(line);
        if (typeof message === 'object') read.push(message);
        else if (message === 'not JSON') refuse(rpcCodes.parse, 'the line is not JSON');
        else if (message === 'no request')
          refuse(rpcCodes.invalidRequest, 'a message is one JSON-RPC 2.0 object');
      },
      onTooLong: () => refuse(rpcCodes.invalidRequest, 'a line is longer than 32 MiB'),
    });
    for await (const chunk of channel.input) {
      lines.push(chunk);
      const closed = read;
      read = [];
      yield* closed;
      // Whoever takes no answers is not read either.
      await sending;
    }
  }

  return { messages: messages(), send, close: () => channel.close() };
}

function messageOf(line: Uint8Array): Message | 'nothing' | 'not JSON' | 'no request' {
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.byteLength);
  if (!isUtf8(bytes)) return 'not JSON';
  const text = bytes.toString();
  if (text.trim() === '') return 'nothing';
  try {
    const value: unknown = JSON.parse(text);
    return isMessage(value) ? value : 'no request';
  } catch {
    // Said to whoever wrote it.
    return 'not JSON';
  }
}

function isMessage(value: unknown): value is Message {
  return typeof value === 'object' && value !== null && 'jsonrpc' in value && value.jsonrpc === '2.0';
}
