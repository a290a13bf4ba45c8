import type { Invocation } from '../invocation.ts';
import { pageParams, showPage } from '../page.ts';

export async function run({ arg, options, client, terminal, signal }: Invocation): Promise<void> {
  const params = { sandboxId: arg('SANDBOX'), ...pageParams(options) };
  const page = await (await client()).call('sandbox.snapshots.list', params, { signal });
  showPage(terminal, page, page.snapshots, {
    empty: 'No snapshots.',
    header: ['SNAPSHOT', 'FILES', 'BYTES', 'STORED', 'CREATED'],
    row: ({ id, files, sizeBytes, storedBytes, createdAt }) => [
      id,
      String(files),
      String(sizeBytes),
      String(storedBytes),
      createdAt,
    ],
  });
}
