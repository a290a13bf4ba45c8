/**
 * A Claude CLI that runs before its session is known: started, its tools loaded, and nothing of the agent's folder looked
 * at yet. Servers and hooks of the folder, its CLAUDE.md and the place of the transcript come with the claim; what the CLI
 * reads at its start does not, so a session that differs in that gets a process of its own.
 */
import type { ChildProcess } from 'node:child_process';
import type { Options, SpareProcess } from '@anthropic-ai/claude-agent-sdk';
import type { ExecutorSettings } from '@atoll/protocol/runner-link';
import type { ExecutorContext } from '../executor.ts';
import { sdkOptions } from './claude-options.ts';
import { type SpawnContext, spawnClaude } from './claude-spawn.ts';
import { trustWorkspace } from './claude-trust.ts';

type Sdk = typeof import('@anthropic-ai/claude-agent-sdk');

export type ClaudeSpare = {
  /** That it was started with. */
  readonly sdk: Sdk;
  readonly process: SpareProcess;
  readonly sessionId: string;
  readonly model: string | undefined;
  /** Its process, whose output and stderr are whoever's that asks. */
  adopt(listener: Listener): ChildProcess | undefined;
};

type Listener = Pick<SpawnContext, 'onStderr' | 'waiting'>;

export async function startSpare(context: ExecutorContext): Promise<ClaudeSpare> {
  const sdk = await import('@anthropic-ai/claude-agent-sdk');
  const { settings, workspace, env, approve, children } = context;
  const { model } = settings;
  if (env.HOME !== undefined) await trustWorkspace(env.HOME, workspace);
  const sessionId = crypto.randomUUID();
  // Without `cwd`: the workspace is told at the claim, and the process waits in a place of its own below its home.
  const { cwd: _, ...options }: Options = sdkOptions({
    ...{ settings, workspace, env, approve, model },
    launch: {},
    session: { sessionId },
  });
  let listener: Listener = { onStderr: context.output.log, waiting: () => undefined };
  let child: ChildProcess | undefined;
  const process = await sdk.prewarm({
    options: {
      ...options,
      spawnClaudeCodeProcess: (spawning) => {
        const started = spawnClaude(spawning, {
          children,
          onStderr: (text) => listener.onStderr(text),
          waiting: () => listener.waiting(),
        });
        child = started.child;
        return started.spawned;
      },
    },
  });
  process.claimed.catch(() => undefined); // whoever claims it looks again
  return {
    sdk,
    process,
    sessionId,
    model,
    adopt(next) {
      listener = next;
      return child;
    },
  };
}

/** Whether a session can have what was started for its agent. */
export function fits(parked: ExecutorContext, claimed: ExecutorContext): boolean {
  const bold = claimed.settings.permissionMode === 'bypassPermissions';
  if (bold && parked.settings.permissionMode !== 'bypassPermissions') return false;
  return (
    JSON.stringify(fixed(parked.settings)) === JSON.stringify(fixed(claimed.settings)) &&
    JSON.stringify(sorted(parked.env)) === JSON.stringify(sorted(claimed.env))
  );
}

/** What a claim cannot change. */
function fixed({ model: _, permissionMode: __, ...settings }: ExecutorSettings): object {
  return sorted(settings);
}

function sorted(record: object): [string, unknown][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}
