import type { Executor, ExecutorContext } from './executor.ts';

/** The one place where executors are chosen. Loaded when needed, since each costs start time. */
export async function createExecutor(context: ExecutorContext): Promise<Executor> {
  switch (context.settings.kind) {
    case 'program': {
      const { createProgramExecutor } = await import('./executors/program.ts');
      return createProgramExecutor(context);
    }
    case 'claude': {
      const { createClaudeExecutor } = await import('./executors/claude.ts');
      return createClaudeExecutor(context);
    }
    case 'acp': {
      const { createAcpExecutor } = await import('./executors/acp.ts');
      return createAcpExecutor(context);
    }
    case 'codex': {
      const { createCodexExecutor } = await import('./executors/codex.ts');
      return createCodexExecutor(context);
    }
  }
}
