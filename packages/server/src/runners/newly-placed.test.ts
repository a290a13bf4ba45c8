import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CreateSandbox } from '@atoll/protocol/runner-link';
import { notePlaced } from './newly-placed.ts';
import type { RemoteLink } from './remote-link.ts';

const creation = (id: string) => ({ jobId: 'job_1', epoch: 1, sandbox: { id } }) as CreateSandbox;

test('what is asked for over the link is no leftover, from the moment that it is asked for', async () => {
  const made = Promise.withResolvers<void>();
  const asked: string[] = [];
  const createSandbox = ({ sandbox }: CreateSandbox) => {
    asked.push(sandbox.id);
    return made.promise;
  };
  const { link, placed } = notePlaced({ createSandbox } as Partial<RemoteLink> as RemoteLink);
  const making = link.createSandbox(creation('sbx_1'));
  assert.deepEqual([placed.has('sbx_1'), placed.has('sbx_2'), asked], [true, false, ['sbx_1']]);
  made.resolve();
  await making;
  placed.stop();
  await link.createSandbox(creation('sbx_2'));
  assert.deepEqual([placed.has('sbx_2'), asked], [false, ['sbx_1', 'sbx_2']]);
});
