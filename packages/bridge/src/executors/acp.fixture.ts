/** For tests: a bridge with the ACP agent of `acp-agent.fixture.ts`, and how the messages of an ACP agent are read. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import type { ExecutorSettings } from '@atoll/protocol/runner-link';
import { type BridgeUnderTest, startBridgeUnderTest } from '../bridge.fixture.ts';
import type { Transcript } from '../executor.contract.ts';

const agent = fileURLToPath(new URL('acp-agent.fixture.ts', import.meta.url));
export const settings: ExecutorSettings = { kind: 'acp', command: [process.execPath, agent] };

/** A message is the params of a `session/update`. */
type Update = { sessionUpdate?: string; content?: { text?: string } };
const updateOf = (message: Record<string, unknown>) => Object(message.update) as Update;

export const acpTranscript: Transcript = {
  isAnswer: (message) => updateOf(message).sessionUpdate === 'agent_message_chunk',
  textOf: (turn) =>
    turn
      .map(updateOf)
      .filter(({ sessionUpdate }) => sessionUpdate === 'agent_message_chunk')
      .map(({ content }) => content?.text ?? '')
      .join(''),
};

export type Decide = (request: Record<string, unknown>) => Promise<unknown>;
type Setup = { mock?: string; more?: Partial<ExecutorSettings>; decide?: Decide; workspace?: string };

export async function start({
  mock = '',
  more = {},
  decide,
  workspace,
}: Setup = {}): Promise<BridgeUnderTest> {
  const bridge = await startBridgeUnderTest({
    env: { MOCK: mock },
    ...(decide && { decide }),
    ...(workspace !== undefined && { workspace }),
  });
  await bridge.initialize({ ...settings, ...more });
  return bridge;
}

/** What the agent said to it, in a turn that must complete. */
export async function said(bridge: BridgeUnderTest, content: unknown, options: object = {}): Promise<string> {
  const from = bridge.messages.length;
  const end = await bridge.query(content, { ...options });
  assert.equal(end.status, 'completed', JSON.stringify(end));
  return acpTranscript.textOf(bridge.messages.slice(from));
}

export const logged = (bridge: BridgeUnderTest, pattern: RegExp) =>
  bridge.until(() => pattern.test(bridge.logs.join('')));
