import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { SetupError } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { harmless } from '../terminal.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, options, terminal, signal } = invocation;
  const client = await invocation.client();
  const content = await client.readFile(arg('SESSION'), arg('PATH'), { signal });
  if (options.output !== undefined) return await save(options.output, content);
  if (terminal.json)
    return terminal.value({ contentBase64: Buffer.from(await bytesOf(content)).toString('base64') });
  if (terminal.interactive) return terminal.line(harmless(await textOf(content)).replace(/\n$/, ''));
  for await (const chunk of content) terminal.write(chunk);
}

async function save(path: string, content: ReadableStream<Uint8Array>): Promise<void> {
  try {
    await pipeline(content, createWriteStream(path));
  } catch (error) {
    if (error instanceof Error && 'syscall' in error && error.syscall === 'open')
      throw new SetupError(`cannot write ${path}: ${error.message}`);
    throw error;
  }
}

async function textOf(content: ReadableStream<Uint8Array>): Promise<string> {
  return new TextDecoder().decode(await bytesOf(content));
}

async function bytesOf(content: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(content).arrayBuffer());
}
