import { showFiles } from '../files.ts';
import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { pageParams } from '../page.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, optionalArg, options, signal } = invocation;
  const params = {
    sessionId: arg('SESSION'),
    ...pageParams(options),
    ...given({ prefix: optionalArg('PREFIX') }),
  };
  const client = await invocation.client();
  showFiles(invocation, await client.call('session.files.list', params, { signal }));
}
