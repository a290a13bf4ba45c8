import { showFiles } from '../files.ts';
import { given } from '../input.ts';
import type { Invocation } from '../invocation.ts';
import { pageParams } from '../page.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { arg, optionalArg, options, signal } = invocation;
  const params = {
    sandboxId: arg('SANDBOX'),
    ...pageParams(options),
    ...given({ prefix: optionalArg('PREFIX') }),
  };
  const client = await invocation.client();
  showFiles(invocation, await client.call('sandbox.files.list', params, { signal }));
}
