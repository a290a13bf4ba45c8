/**
 * The contract of an Executor, as seen from the runner: run over every implementation by its test, in a real
 * bridge process. The agents under test understand `remember <fact>`, `what do you remember?`,
 * `count slowly to <n>` and `fail with 400`.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { ExecutorSettings } from '@atoll/protocol/runner-link';
import { type BridgeUnderTest, type Message, startBridgeUnderTest } from './bridge.fixture.ts';
import { SAME_NAME, type TurnCause } from './executor.ts';

export type ExecutorUnderTest = {
  settings: ExecutorSettings;
  env: Record<string, string>;
  /** What a failing model ends a turn with. */
  failure: TurnCause;
  /** Whether the executor names its session, so that a fresh bridge can go on with it. */
  hasSessions: boolean;
  /** Whether what is branched off another session gets a name of its own. */
  branches: boolean;
  transcript: Transcript;
};

/** How the executor's own messages are read. */
export type Transcript = {
  /** Whether the message shows that the agent is answering. */
  isAnswer(message: Message): boolean;
  /** What the agent said in the messages of one turn. */
  textOf(turn: readonly Message[]): string;
};

/** Of the Claude Agent SDK, and of programs that speak alike: answers, and then one result. */
export const sdkTranscript: Transcript = {
  isAnswer: ({ type }) => type === 'assistant' || type === 'stream_event',
  textOf(turn) {
    const types = turn.map(({ type }) => type);
    const last = types.lastIndexOf('result');
    // What is said behind it is the next turn's: the runner keeps it for that.
    assert.ok(types.indexOf('assistant') < last && types.indexOf('result') === last, types.join(' '));
    return String(turn[last]?.result);
  },
};

export function executorContract(name: string, setup: () => ExecutorUnderTest): void {
  describe(`executor contract: ${name}`, () => {
    let transcript: Transcript;
    const start = async (workspace?: string) => {
      const { env, settings, transcript: its } = setup();
      transcript = its;
      const bridge = await startBridgeUnderTest({ env, ...(workspace !== undefined && { workspace }) });
      await bridge.initialize(settings);
      return bridge;
    };

    /** Settles when the turn that was just asked for answers, so that it is past everything that comes before. */
    const underWay = (bridge: BridgeUnderTest): Promise<boolean> => {
      const from = bridge.messages.length;
      return bridge.until(() => bridge.messages.slice(from).some(transcript.isAnswer));
    };

    const recall = async (bridge: BridgeUnderTest): Promise<string> => {
      const from = bridge.messages.length;
      assert.equal((await bridge.query('what do you remember?')).status, 'completed');
      return transcript.textOf(bridge.messages.slice(from));
    };

    it('completes turns with their messages in order, and remembers', async () => {
      await using bridge = await start();
      const first = await bridge.query('remember blue');
      assert.equal(first.status, 'completed');
      assert.ok(bridge.messages.some(transcript.isAnswer));
      assert.equal(typeof first.executorSessionId, setup().hasSessions ? 'string' : 'undefined');
      const before = bridge.messages.length;
      const second = await bridge.query('what do you remember?');
      assert.equal(second.status, 'completed');
      assert.match(transcript.textOf(bridge.messages.slice(before)), /blue/);
    });

    it('interrupts a turn, and goes on with the next', async () => {
      await using bridge = await start();
      await bridge.query('remember green');
      const running = bridge.query('count slowly to 1000', { includePartialMessages: true }, 'long');
      await underWay(bridge);
      await assert.rejects(bridge.query('another'), { code: 'illegal_transition' });
      assert.deepEqual(await bridge.peer.call('interrupt', { turnId: 'another turn' }), {});
      assert.deepEqual(await bridge.peer.call('interrupt', { turnId: 'long' }), {});
      const end = await running;
      assert.equal(end.status, 'interrupted');
      assert.equal(end.cause, 'interrupted');
      assert.match(await recall(bridge), /green/);
    });

    it('ends a turn whose process crashed, and goes on with the next', async () => {
      await using bridge = await start();
      await bridge.query('remember red');
      const running = bridge.query('count slowly to 1000', { includePartialMessages: true });
      await underWay(bridge);
      for (const pid of childrenOf(bridge.child.pid)) process.kill(pid, 'SIGKILL');
      const end = await running;
      assert.equal(end.status, 'failed');
      assert.equal(end.cause, 'executor_crashed');
      assert.match(end.detail ?? '', /SIGKILL/);
      assert.match(await recall(bridge), /red/);
    });

    it('goes on in a fresh bridge with resume', async () => {
      await using first = await start();
      const { executorSessionId = 'none' } = await first.query('remember yellow');
      await first.peer.call('shutdown', {});
      await using second = await start(first.workspace);
      await second.peer.call('resume', { executorSessionId });
      const end = await second.query('what do you remember?');
      assert.equal(end.status, 'completed', end.detail);
      assert.match(transcript.textOf(second.messages), /yellow/);
      if (setup().hasSessions) assert.equal(end.executorSessionId, executorSessionId);
      await assert.rejects(second.peer.call('resume', { executorSessionId }), { code: 'illegal_transition' });
    });

    it('branches off another session, which has what it had', async () => {
      await using first = await start();
      const { executorSessionId = 'none' } = await first.query('remember purple');
      await first.peer.call('shutdown', {});
      await using second = await start(first.workspace);
      await second.peer.call('resume', { executorSessionId, branches: true });
      const end = await second.query('what do you remember?');
      assert.equal(end.status, 'completed', end.detail);
      assert.match(transcript.textOf(second.messages), /purple/);
      const { branches, hasSessions } = setup();
      if (branches) assert.notEqual(end.executorSessionId, executorSessionId);
      if (hasSessions && !branches)
        await second.until(() => second.logs.some((text) => text.includes(SAME_NAME)));
      assert.match(await recall(second), /purple/);
    });

    it('tells why the model failed', async () => {
      await using bridge = await start();
      const end = await bridge.query('fail with 400');
      assert.equal(end.status, 'failed');
      assert.equal(end.cause, setup().failure);
      assert.ok(end.detail);
    });

    it('leaves no process when the runner goes away in the middle of a turn', async () => {
      const bridge = await start();
      const running = bridge.query('count slowly to 1000', { includePartialMessages: true });
      running.catch(() => undefined);
      await underWay(bridge);
      const pids = childrenOf(bridge.child.pid);
      assert.ok(pids.length > 0);
      await bridge.end();
      await assert.doesNotReject(gone(pids));
    });
  });
}

export function childrenOf(pid: number | undefined): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
}

/** A killed process is a zombie until its new parent looks: that counts as gone. */
export async function gone(pids: readonly number[]): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (!pids.some(isAlive)) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`still alive: ${pids.filter(isAlive).join(' ')}`);
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    // No such process.
    return false;
  }
}
