/** Files of a workspace, as the commands of sessions and of sandboxes show them. */
import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { OperationResult } from '@atoll/protocol/operations';
import { SetupError } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { showPage } from './page.ts';
import { harmless, oneLine } from './terminal.ts';

export function showFiles({ terminal }: Invocation, page: OperationResult<'session.files.list'>): void {
  showPage(terminal, page, page.files, {
    empty: 'No files.',
    header: ['SIZE', 'MODIFIED', 'PATH'],
    row: (file) => [
      file.type === 'file' ? String(file.sizeBytes) : file.type,
      file.modifiedAt,
      oneLine(file.path, 1024) + (file.type === 'directory' ? '/' : ''),
    ],
  });
}

/** To the file that `--output` names, or to stdout. */
export async function showFile(
  { options, terminal }: Invocation,
  content: ReadableStream<Uint8Array>,
): Promise<void> {
  if (options.output !== undefined) return await save(options.output, content);
  if (terminal.json)
    return terminal.value({ contentBase64: Buffer.from(await bytesOf(content)).toString('base64') });
  if (terminal.interactive) return terminal.line(harmless(await textOf(content)).replace(/\n$/, ''));
  for await (const chunk of content) terminal.write(chunk);
}

/** What is to be written: the file that is named, or stdin. */
export async function fileSource({ optionalArg }: Invocation): Promise<AsyncIterable<Uint8Array>> {
  const path = optionalArg('FILE');
  if (path === undefined || path === '-') return process.stdin;
  const file = await open(path).catch((error: unknown) => {
    throw new SetupError(`cannot read ${path}: ${error instanceof Error ? error.message : error}`);
  });
  return file.createReadStream();
}

export function showWritten(
  { terminal }: Invocation,
  { file }: OperationResult<'session.files.write'>,
): void {
  if (terminal.json) return terminal.value({ file });
  terminal.line(`${file.created ? 'Created' : 'Replaced'} ${file.path} (${file.sizeBytes} bytes).`);
}

export function showRemoved({ terminal }: Invocation, removed: { path: string }): void {
  if (terminal.json) return terminal.value(removed);
  terminal.line(`Removed ${removed.path}.`);
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
