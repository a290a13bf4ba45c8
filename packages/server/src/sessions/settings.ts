/** What a session's sandbox is made with: its agent version's settings, with the session's own on top. */
import type { OperationParams } from '@atoll/protocol/operations';
import type { ExecutorRequest } from '@atoll/protocol/runner-link';
import type { AgentSettings } from '../agents/settings.ts';
import type { SandboxSettings } from './sandboxes.ts';

export type SessionSettings = Pick<
  OperationParams<'session.create'>,
  | 'model'
  | 'systemPrompt'
  | 'permissionMode'
  | 'allowedTools'
  | 'disallowedTools'
  | 'mcpServers'
  | 'env'
  | 'demands'
>;

export function sandboxSettings(
  agentHash: string,
  agent: AgentSettings,
  session: SessionSettings,
): SandboxSettings {
  const { env, demands, ...asked } = session;
  const wanted = { ...agent.demands, ...demands };
  const executorProfile = wanted.executorProfile ?? agent.executor.kind ?? 'claude';
  const executor: ExecutorRequest = {
    profile: executorProfile,
    ...agent.executor,
    ...(agent.model === undefined ? {} : { model: agent.model }),
    ...(agent.permissionMode === undefined ? {} : { permissionMode: agent.permissionMode }),
  };
  for (const [name, value] of Object.entries(asked)) {
    if (value !== undefined) Object.assign(executor, { [name]: value });
  }
  return {
    agentHash,
    executor,
    env: { ...agent.env, ...env },
    limits: agent.limits,
    budget: agent.budget ?? {},
    egress: agent.egress ?? [],
    ...(wanted.image === undefined ? {} : { image: wanted.image }),
    demands: { ...wanted, executorProfile },
  };
}
