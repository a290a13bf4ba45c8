/** The floor of a Claude that waited: the SDK alone, whose process was started before and is given a folder and a message. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Options, prewarm, type SDKUserMessage } from '@anthropic-ai/claude-agent-sdk';

/** Milliseconds from the sending of the message to its first message event, and to the SDK's `init`. */
export type FirstEvents = { first: number; init: number };

export type BareClaude = { ask(): Promise<FirstEvents>; [Symbol.asyncDispose](): Promise<void> };

/** As ours has it: no traffic but to the model. */
const QUIET = {
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL: '1',
  CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY: '1',
  CLAUDE_CODE_SKIP_FAST_MODE_ORG_CHECK: '1',
  DISABLE_AUTOUPDATER: '1',
  DISABLE_ERROR_REPORTING: '1',
  DISABLE_TELEMETRY: '1',
  ENABLE_CLAUDEAI_MCP_SERVERS: '0',
  IS_SANDBOX: '1',
};

/** With the options that ours has, the system prompt above all; resolves when its process waits. */
export async function startBareClaude(api: { url: string; key: string }): Promise<BareClaude> {
  const [home, cwd] = [newFolder(), newFolder()];
  writeFileSync(join(cwd, 'CLAUDE.md'), 'Be brief.');
  const { PATH } = process.env;
  const env = { PATH, HOME: home, ANTHROPIC_API_KEY: api.key, ANTHROPIC_BASE_URL: api.url, ...QUIET };
  writeFileSync(
    join(home, '.claude.json'),
    JSON.stringify({ projects: { [cwd]: { hasTrustDialogAccepted: true } } }),
  );
  const options: Options = {
    env,
    settingSources: ['project'],
    permissionMode: 'default',
    canUseTool: async () => ({ behavior: 'deny', message: 'Nobody is asked.' }),
    settings: { enableAllProjectMcpServers: true },
    systemPrompt: { type: 'preset', preset: 'claude_code' },
  };
  const spare = await prewarm({ options });
  return {
    async ask() {
      const start = performance.now();
      const answered = Promise.withResolvers<void>();
      const prompt = oneMessage(answered.promise);
      const at: Partial<FirstEvents> = {};
      for await (const message of spare.claim({ prompt, options: { cwd } })) {
        const ms = performance.now() - start;
        at.first ??= ms;
        if (message.type === 'system' && message.subtype === 'init') at.init ??= ms;
        if (message.type === 'result') break;
      }
      answered.resolve();
      return firstEvents(at);
    },
    async [Symbol.asyncDispose]() {
      spare.close();
      for (const folder of [home, cwd]) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Throws when one of them never came. */
export function firstEvents({ first, init }: Partial<FirstEvents>): FirstEvents {
  if (first === undefined || init === undefined) throw new Error('Claude answered without its first events');
  return { first, init };
}

async function* oneMessage(answered: Promise<void>): AsyncGenerator<SDKUserMessage> {
  yield { type: 'user', message: { role: 'user', content: 'hello' }, parent_tool_use_id: null };
  await answered;
}

function newFolder(): string {
  return mkdtempSync(join(tmpdir(), 'atoll-bench-claude-'));
}
