import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AtollError } from '@atoll/protocol/errors';
import type { Platform } from '../platform.ts';
import { useTool } from './tools.ts';

/** A platform that answers with `more` where that has an answer; tells which operations it was asked for. */
function platformWith(more: Record<string, () => unknown>) {
  const calls: string[] = [];
  const answers: Record<string, () => unknown> = {
    'session.create': () => ({ session: { id: 's' } }),
    'session.send': () => ({ turn: { id: 't', inputSeq: 1 } }),
    'session.end': () => ({ session: { id: 's' } }),
    ...more,
  };
  const call = async (name: string) => {
    calls.push(name);
    return (answers[name] ?? assert.fail(name))();
  };
  const unused = () => assert.fail('not asked for');
  return { platform: { call, send: unused, events: unused } as unknown as Platform, calls };
}

function runAgent(platform: Platform, signal: AbortSignal, params: { keep?: boolean } = {}) {
  const context = { platform, signal, onProgress: () => undefined };
  return useTool('run_agent', { agent: 'a', prompt: 'p', ...params }, context);
}

const unreachable = () => {
  throw new AtollError('internal');
};

test('taken back while its session is made, an agent is given nothing to do', async () => {
  const abort = new AbortController();
  const { platform, calls } = platformWith({
    'session.create': () => {
      abort.abort();
      return { session: { id: 's' } };
    },
  });
  await assert.rejects(runAgent(platform, abort.signal, { keep: true }), { name: 'AbortError' });
  assert.deepEqual(calls, ['session.create', 'session.end']);
});

test('a session whose task was not taken is ended, unless it is to be kept', async () => {
  const { signal } = new AbortController();
  const lost = platformWith({ 'session.send': unreachable, 'session.end': unreachable });
  await assert.rejects(runAgent(lost.platform, signal), { code: 'internal' });
  assert.deepEqual(lost.calls, ['session.create', 'session.send', 'session.end']);
  const kept = platformWith({ 'session.send': unreachable });
  await assert.rejects(runAgent(kept.platform, signal, { keep: true }), { code: 'internal' });
  assert.deepEqual(kept.calls, ['session.create', 'session.send']);
});

test('taken back while it is waited for, an agent is ended', async () => {
  const abort = new AbortController();
  const { platform, calls } = platformWith({
    'session.show': () => {
      abort.abort();
      throw abort.signal.reason;
    },
  });
  await assert.rejects(runAgent(platform, abort.signal), { name: 'AbortError' });
  assert.deepEqual(calls, ['session.create', 'session.send', 'session.show', 'session.end']);
});
