import { open } from 'node:fs/promises';
import { SetupError } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, optionalArg, terminal, signal } = invocation;
  const client = await invocation.client();
  const content = await source(optionalArg('FILE'));
  const { file } = await client.writeFile(arg('SESSION'), arg('PATH'), content, { signal });
  if (terminal.json) return terminal.value({ file });
  terminal.line(`${file.created ? 'Created' : 'Replaced'} ${file.path} (${file.sizeBytes} bytes).`);
}

async function source(path: string | undefined): Promise<AsyncIterable<Uint8Array>> {
  if (path === undefined || path === '-') return process.stdin;
  const file = await open(path).catch((error: unknown) => {
    throw new SetupError(`cannot read ${path}: ${error instanceof Error ? error.message : error}`);
  });
  return file.createReadStream();
}
