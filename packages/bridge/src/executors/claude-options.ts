/**
 * How the Claude Agent SDK is started. Three sources: the agent's executor settings, which hold for the session;
 * the options of a turn, some of which need a process of their own; and what keeps an agent inside its sandbox.
 */
import type { McpServerConfig, Options, OutputFormat, PermissionMode } from '@anthropic-ai/claude-agent-sdk';
import type { ExecutorSettings, QueryOptions } from '@atoll/protocol/runner-link';
import type { Approve } from '../approvals.ts';
import { permissionOptions } from './claude-permissions.ts';

/** What only a new process can change; a turn that differs in it restarts the executor with `resume`. */
export type LaunchOptions = Pick<
  QueryOptions,
  'maxTurns' | 'maxBudgetUsd' | 'outputFormat' | 'includePartialMessages'
>;

export type SessionChoice =
  | { resume: string }
  | { sessionId: string }
  | { resume: string; forkSession: true; sessionId: string };

/** No traffic but to ANTHROPIC_BASE_URL: no telemetry, updates, marketplaces or account connectors. */
const QUIET_ENV = {
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL: '1',
  CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY: '1',
  CLAUDE_CODE_SKIP_FAST_MODE_ORG_CHECK: '1',
  DISABLE_AUTOUPDATER: '1',
  DISABLE_ERROR_REPORTING: '1',
  DISABLE_TELEMETRY: '1',
  ENABLE_CLAUDEAI_MCP_SERVERS: '0',
  // Root in a user namespace is no root; without this the CLI refuses bypassPermissions there.
  IS_SANDBOX: '1',
};

export function launchOptions({
  maxTurns,
  maxBudgetUsd,
  outputFormat,
  includePartialMessages,
}: QueryOptions): LaunchOptions {
  return {
    ...(maxTurns !== undefined && { maxTurns }),
    ...(maxBudgetUsd !== undefined && { maxBudgetUsd }),
    ...(outputFormat !== undefined && { outputFormat }),
    ...(includePartialMessages && { includePartialMessages }),
  };
}

export type SdkOptionsInput = {
  settings: ExecutorSettings;
  workspace: string;
  env: Readonly<Record<string, string | undefined>>;
  approve: Approve;
  launch: LaunchOptions;
  model: string | undefined;
  session: SessionChoice;
};

export function sdkOptions(input: SdkOptionsInput): Options {
  const { settings, workspace, env, approve, launch, model, session } = input;
  const { systemPrompt, allowedTools, disallowedTools, mcpServers, approvals } = settings;
  const permissionMode = (settings.permissionMode ?? 'default') as PermissionMode;
  return {
    cwd: workspace,
    env: { ...env, ...QUIET_ENV },
    // The agent's folder only: nothing of the sandbox's home, which an agent can write.
    settingSources: ['project'],
    // Given always: left out, the CLI may choose `auto`.
    permissionMode,
    ...(permissionMode === 'bypassPermissions' && { allowDangerouslySkipPermissions: true }),
    ...permissionOptions(approvals, approve),
    // Whoever deploys an agent folder trusts its .mcp.json; nobody is there to answer the CLI's question.
    settings: { enableAllProjectMcpServers: true },
    // As in the SDK: a string replaces Claude Code's own system prompt, none keeps it.
    systemPrompt: systemPrompt ?? { type: 'preset', preset: 'claude_code' },
    ...(model !== undefined && { model }),
    ...(allowedTools && { allowedTools: [...allowedTools] }),
    ...(disallowedTools && { disallowedTools: [...disallowedTools] }),
    // Over stdin: argv can be read by every process in the sandbox, and server settings hold headers (I7).
    ...(mcpServers && {
      mcpServers: mcpServers as Record<string, McpServerConfig>,
      mcpServersDelivery: 'initialize',
    }),
    ...session,
    ...(launch.maxTurns !== undefined && { maxTurns: launch.maxTurns }),
    ...(launch.maxBudgetUsd !== undefined && { maxBudgetUsd: launch.maxBudgetUsd }),
    ...(launch.outputFormat !== undefined && { outputFormat: launch.outputFormat as OutputFormat }),
    ...(launch.includePartialMessages && { includePartialMessages: true }),
  };
}
