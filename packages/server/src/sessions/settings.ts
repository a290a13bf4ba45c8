/** What a session's sandbox is made with: its agent version's settings, with the session's own on top. */
import { type ExecutorKind, executorKinds } from '@atoll/protocol/executor-kinds';
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
  const executorProfile = profileOf(agent, session);
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

function profileOf({ demands, executor }: AgentSettings, session: SessionSettings): string {
  const wanted = { ...demands, ...session.demands };
  return wanted.executorProfile ?? executor.kind ?? 'claude';
}

/**
 * By the columns of an agent version and a session; undefined where only the runner knows, whose profile it is, or where the
 * version is gone.
 */
export function executorKindOf(agentColumn: string | null, sessionColumn: string): ExecutorKind | undefined {
  if (agentColumn === null) return undefined;
  const agent = JSON.parse(agentColumn) as AgentSettings;
  const profile = profileOf(agent, JSON.parse(sessionColumn) as SessionSettings);
  // A profile of a kind's name is of that kind.
  return executorKinds.find((kind) => kind === profile) ?? agent.executor.kind;
}
