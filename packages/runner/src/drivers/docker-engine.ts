import type Docker from 'dockerode';
import type { Warn } from '../driver.ts';

/**
 * The engine on this machine, and which of our containers it has seen out of memory: the kernel ends one process, and
 * nothing but this event tells it from any other end. It comes before the container's own.
 */
export type Engine = {
  readonly docker: Docker;
  outOfMemory(containerId: string): boolean;
  forget(containerId: string): void;
  /** Aborts when the engine went away: whoever needs it opens another. */
  readonly gone: AbortSignal;
  close(): void;
};

export type EngineOptions = {
  socketPath: string;
  /** `name=value` of the containers to be told of. */
  label: string;
  warn: Warn;
};

export async function openEngine({ socketPath, label, warn }: EngineOptions): Promise<Engine> {
  // Big, and of use to nobody who makes sandboxes in another way.
  const { default: Client } = await import('dockerode');
  const docker = new Client({ socketPath });
  const seen = new Set<string>();
  const stop = new AbortController();
  const events = await docker.getEvents({
    filters: { type: ['container'], event: ['oom'], label: [label] },
    abortSignal: stop.signal,
  });
  const gone = new AbortController();
  let rest = '';
  events.setEncoding('utf8');
  events.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) seen.add(containerOf(line));
  });
  events.on('close', () => {
    gone.abort(new Error('the Docker engine went away'));
  });
  events.on('error', (error: unknown) => {
    if (!stop.signal.aborted) warn(error, 'the connection to the Docker engine broke');
  });
  return {
    docker,
    outOfMemory: (containerId) => seen.has(containerId),
    forget: (containerId) => void seen.delete(containerId),
    gone: gone.signal,
    close: () => stop.abort(),
  };
}

function containerOf(line: string): string {
  return /"ID":"([0-9a-f]+)"/.exec(line)?.[1] ?? '';
}

/** The engine's answer when it refused, by its HTTP status. */
export function isRefusal(error: unknown, ...statuses: number[]): boolean {
  return error instanceof Error && 'statusCode' in error && statuses.includes(Number(error.statusCode));
}
