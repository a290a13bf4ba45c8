import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { pageParams, showPage } from '../page.ts';
import { oneLine } from '../terminal.ts';

export async function run({
  arg,
  optionalArg,
  options,
  client,
  terminal,
  signal,
}: Invocation): Promise<void> {
  const params = {
    sessionId: arg('SESSION'),
    ...pageParams(options),
    ...given({ prefix: optionalArg('PREFIX') }),
  };
  const page = await (await client()).call('session.files.list', params, { signal });
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
