/** The worker with the real Claude Agent SDK in a sandbox, against a stand-in of the model's API. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { processesWith, until } from '../atoll.ts';
import { listenersOf, treeOf } from '../sockets.ts';
import { startMessagesApi } from '../stand-ins/messages-api.ts';
import { startWorker } from '../worker.ts';

const KEY = 'sk-ant-test-THE-MARKED-SECRET-0123456789';

test('while Claude works in its sandbox, nothing of the worker listens on a port, and nothing is left of it', async () => {
  const api = await startMessagesApi({ apiKey: KEY });
  after(() => api.close());
  await using worker = await startWorker({ env: { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url } });
  const content = Buffer.from('You may do nothing by yourself.').toString('base64');
  await worker.call('agent.deploy', { name: 'careful', files: [{ path: 'CLAUDE.md', content }] });
  const created = await worker.call('session.create', { agent: 'careful' });
  const { id: sessionId } = (created.result as { session: { id: string } }).session;
  await worker.call('session.subscribe', { sessionId });
  await worker.call('session.send', { sessionId, content: 'write hello.txt: from inside' });
  const dataOf = async (event: string) => {
    const { params = {} } = await worker.next(({ params: told }) => told?.event === event);
    return params.data as { approvalId: string; status: string };
  };
  const { approvalId } = await dataOf('approval');

  const pids = await treeOf(worker.child.pid ?? 0);
  assert.ok(pids.length > 4, 'the sandbox, its bridge and the SDK’s own process are in the tree');
  assert.deepEqual(await listenersOf(pids), []);

  await worker.call('approval.decide', { sessionId, approvalId, decision: 'allow' });
  assert.equal((await dataOf('done')).status, 'completed');
  const read = await worker.call('session.files.read', { sessionId, path: 'hello.txt' });
  const file = read.result as { content: string };
  assert.equal(Buffer.from(file.content, 'base64').toString(), 'from inside');

  const before = api.requests.length;
  await worker.call('session.send', { sessionId, content: 'count slowly to 500' });
  await until(async () => api.requests.length > before);
  assert.equal(await worker.stop(), 0, worker.stderr);
  assert.deepEqual(await processesWith(worker.dataDir), []);
});
