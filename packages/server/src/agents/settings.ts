/** What an agent version says about how it is run: its `atoll.json`, under what came with the deployment. */
import { AtollError } from '@atoll/protocol/errors';
import { parse } from '@atoll/protocol/parse';
import type { ExecutorRequest, ModelBudget, ResourceLimits } from '@atoll/protocol/runner-link';
import { type AgentConfig, agentConfig } from '@atoll/protocol/schemas/agent';
import { refuseSecrets } from '@atoll/protocol/secrets';
import type { Demands } from '../scheduler/scheduler.ts';

export type AgentSettings = {
  /** Which profile is asked for stands in `demands`. */
  executor: Omit<ExecutorRequest, 'profile'>;
  env: Record<string, string>;
  limits: Partial<ResourceLimits>;
  /** Absent in versions that were deployed before there was one. */
  budget?: ModelBudget;
  /** Patterns of the hosts that it may reach. */
  egress?: readonly string[];
  demands: Demands;
  model?: string;
  permissionMode?: string;
  /** How many sandboxes are made ahead of their sessions. */
  prewarm?: number;
};

export type DeployedSettings = {
  env?: Record<string, string> | undefined;
  allowSecretEnv?: boolean | undefined;
  executorProfile?: string | undefined;
  demands?: Demands | undefined;
};

/** Body over `atoll.json`. Throws `invalid_agent`, `secret_in_env`. */
export function agentSettings(config: AgentConfig, body: DeployedSettings): AgentSettings {
  const env = { ...config.env, ...body.env };
  if (!(body.allowSecretEnv ?? config.allowSecretEnv ?? false)) refuseSecrets(env);
  const { modelRequests, modelTokens, ...limits } = config.limits ?? {};
  return {
    executor: executorOf(config),
    env,
    limits: defined(limits),
    budget: defined({ requests: modelRequests, tokens: modelTokens }),
    ...(config.egress === undefined ? {} : { egress: config.egress }),
    demands: {
      ...demandsOf(config),
      ...demandsOf(body),
      ...(config.image === undefined ? {} : { image: config.image }),
    },
    ...(config.model === undefined ? {} : { model: config.model }),
    ...(config.permissionMode === undefined ? {} : { permissionMode: config.permissionMode }),
    ...(config.prewarm === undefined ? {} : { prewarm: config.prewarm }),
  };
}

/** Parses the bytes of an `atoll.json`; throws `invalid_agent` with what is wrong in it. */
export function parseAgentConfig(bytes: Uint8Array): AgentConfig {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new AtollError(
      'invalid_agent',
      `atoll.json: ${error instanceof Error ? error.message : 'not JSON'}`,
    );
  }
  return parse(agentConfig, value, { code: 'invalid_agent', what: 'atoll.json' });
}

function demandsOf({ demands, executorProfile }: DeployedSettings): Demands {
  return defined({ ...demands, ...(executorProfile === undefined ? {} : { executorProfile }) });
}

function executorOf({ executor, approvals }: AgentConfig): AgentSettings['executor'] {
  const named = typeof executor === 'string' ? { kind: executor } : executor;
  return { ...named, ...(approvals === undefined ? {} : { approvals }) };
}

/** Without the members that are there but undefined. */
function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, held]) => held !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
