import type { ExecutorKind } from '@atoll/protocol/executor-kinds';
import type { Executor, ExecutorContext, MakeExecutor } from './executor.ts';

export async function createExecutor(context: ExecutorContext): Promise<Executor> {
  return (await load(context.settings.kind))(context);
}

/** Of a sandbox that only runs commands. */
export const noExecutor: Executor = {
  warm() {},
  resume() {},
  query: async () => ({
    status: 'failed',
    cause: 'executor_unavailable',
    detail: 'This sandbox has no agent.',
  }),
  interrupt() {},
  kill() {},
  async stop() {},
};

/**
 * What can be done before it is known whose executor it will be: its code is loaded, and where an executor can start
 * without doing anything of its agent's yet, it has started. The context that comes later may differ in settings and env.
 */
export async function prepareExecutor(context: ExecutorContext): Promise<MakeExecutor> {
  if (context.settings.kind !== 'claude') return load(context.settings.kind);
  const { prepareClaude } = await import('./executors/claude.ts');
  return prepareClaude(context);
}

/** The one place where executors are chosen. Loaded when needed, since each costs start time. */
async function load(kind: ExecutorKind): Promise<MakeExecutor> {
  switch (kind) {
    case 'program': {
      const { createProgramExecutor } = await import('./executors/program.ts');
      return createProgramExecutor;
    }
    case 'claude': {
      const { createClaudeExecutor } = await import('./executors/claude.ts');
      return createClaudeExecutor;
    }
    case 'acp': {
      const { createAcpExecutor } = await import('./executors/acp.ts');
      return createAcpExecutor;
    }
    case 'codex': {
      const { createCodexExecutor } = await import('./executors/codex.ts');
      return createCodexExecutor;
    }
  }
}
