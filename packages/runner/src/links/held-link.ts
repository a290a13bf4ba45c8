/**
 * A runner's link as a coordinator elsewhere uses it, whatever the wire: a connection may be cut at any moment, and a
 * request may come twice. So the events of a command are held until they are acknowledged, the same command again
 * attaches to the one that runs or ran, and what ended without being asked to is told until somebody heard it.
 *
 * A sandbox here: `starting` → `ready` → `ended`; it is forgotten when it is gone and nothing of it is held.
 */
import { AtollError } from '@atoll/protocol/errors';
import type {
  CommandEvent,
  CreateSandbox,
  RunnerLink,
  SandboxCommand,
  SandboxEnded,
  SandboxInventory,
} from '@atoll/protocol/runner-link';
import { createHeldCommand, type HeldCommand } from './held-command.ts';

/** Of one sandbox; nobody who acknowledges comes near it. */
const MAX_COMMANDS = 256;
/** Sandboxes that are gone and whose events nobody fetched: then the oldest is forgotten. */
const MAX_ENDED = 256;

export type HeldLink = Omit<RunnerLink, 'command' | 'acknowledge' | 'onSandboxEnded'> & {
  /** Whose files a sandbox works on; of anything else, the id itself. */
  workspaceOf(id: string): string;
  /** What is there, and what is gone but was not heard of yet. */
  inventory(): SandboxInventory[];
  /** Begins the command, or attaches to the one with that id, after that line. Ends early when the signal aborts. */
  command(request: SandboxCommand, reading: Reading): AsyncIterable<CommandEvent>;
  /** Attaches to a command that runs or ran. Throws `not_found`, `stale_epoch`, `invalid_cursor`. */
  attach(
    of: { sandboxId: string; commandId: string; epoch?: number },
    reading: Reading,
  ): AsyncIterable<CommandEvent>;
  /** Of one command what came or will come up to that line need not be held; of all of the sandbox, what came. */
  acknowledge(request: { sandboxId: string; commandId?: string; line: number }): void;
  /** Whether some command runs, or its end was not acknowledged. */
  readonly busy: boolean;
  /** Sandboxes that ended without being asked to, the oldest first, until they are acknowledged. */
  ended(): SandboxEnded[];
  acknowledgeEnded(sandboxIds: readonly string[]): void;
  /** Called when `ended` has one more. */
  onEnded(listener: () => void): void;
  /** Called when the coordinator sweeps, which it does after it ended what it does not want. */
  onSweep(listener: () => void): void;
};

export type Reading = { after: number; signal: AbortSignal };

type Held = {
  readonly id: string;
  readonly workspaceId: string;
  readonly sessionId: string | undefined;
  readonly epoch: number;
  readonly jobId: string;
  status: 'starting' | 'ready' | 'ended';
  lastLine: number;
  /** It ended without being asked to, and nobody heard of it. */
  untold: SandboxEnded | undefined;
  readonly commands: Map<string, HeldCommand>;
};

export function createHeldLink(link: RunnerLink): HeldLink {
  const sandboxes = new Map<string, Held>();
  const listeners: (() => void)[] = [];
  const sweepListeners: (() => void)[] = [];

  link.onSandboxEnded((ended) => {
    const held = sandboxes.get(ended.sandboxId);
    if (!held) return;
    held.status = 'ended';
    held.untold = ended;
    forgetEnded();
    for (const tell of listeners) tell();
  });

  async function createSandbox(request: CreateSandbox): Promise<void> {
    const { id, workspaceId } = request.sandbox;
    const known = sandboxes.get(id);
    if (known?.jobId === request.jobId) {
      if (known.status === 'ended') throw new AtollError('sandbox_failed', `sandbox ${id} has ended`);
    } else {
      await replace(workspaceId, request.epoch);
      sandboxes.set(id, newHeld(request));
    }
    const held = sandboxes.get(id);
    try {
      await link.createSandbox(request);
      if (held?.status === 'starting') held.status = 'ready';
    } catch (error) {
      if (sandboxes.get(id) === held) sandboxes.delete(id);
      throw error;
    }
  }

  /** A later assignment takes the place of an earlier one on the same files; an earlier one is refused (I6). */
  async function replace(workspaceId: string, epoch: number): Promise<void> {
    for (const held of [...sandboxes.values()]) {
      if (held.workspaceId !== workspaceId || held.status === 'ended') continue;
      if (held.epoch > epoch)
        throw new AtollError('stale_epoch', `sandbox ${held.id} works on these files at epoch ${held.epoch}`);
      await deleteSandbox({ sandboxId: held.id, workspaceId, epoch, cause: 'ended', keep: true });
    }
  }

  const deleteSandbox: RunnerLink['deleteSandbox'] = async (request) => {
    await link.deleteSandbox(request);
    // Whoever reads one of its commands now reads on to the end; nobody else will ask.
    sandboxes.delete(request.sandboxId);
  };

  function forgetEnded(): void {
    const gone = [...sandboxes.values()].filter(({ status }) => status === 'ended');
    const heard = gone.filter(({ untold, commands }) => untold === undefined && commands.size === 0);
    const oldest = gone.slice(0, Math.max(0, gone.length - MAX_ENDED));
    for (const { id } of [...heard, ...oldest]) sandboxes.delete(id);
  }

  function command(request: SandboxCommand, { after, signal }: Reading): AsyncIterable<CommandEvent> {
    const { sandboxId, epoch, commandId } = request;
    const held = sandboxes.get(sandboxId);
    if (!held) throw new AtollError('sandbox_failed', `sandbox ${sandboxId} is not running`);
    refuseStale(held, epoch);
    const known = held.commands.get(commandId);
    if (known) return known.read(after, signal);
    if (held.commands.size >= MAX_COMMANDS)
      throw new AtollError('too_many_requests', 'the ends of too many commands were not acknowledged');
    const begun = createHeldCommand(counted(held, link.command(request)), () => {
      held.commands.delete(commandId);
      if (held.status === 'ended') forgetEnded();
    });
    held.commands.set(commandId, begun);
    return begun.read(after, signal);
  }

  return {
    runnerId: link.runnerId,
    createSandbox,
    claimSandbox: (request) => link.claimSandbox(request),
    deleteSandbox,
    sweep(request) {
      for (const tell of sweepListeners) tell();
      return link.sweep(request);
    },
    cancel: (request) => link.cancel(request),
    decide: (request) => link.decide(request),
    files: link.files,
    snapshot: (request) => link.snapshot(request),
    restore: (request) => link.restore(request),
    workspaceOf: (id) => sandboxes.get(id)?.workspaceId ?? id,
    command,
    attach({ sandboxId, commandId, epoch }, { after, signal }) {
      const held = sandboxes.get(sandboxId);
      const known = held?.commands.get(commandId);
      if (!held || !known) throw new AtollError('not_found', `no command ${commandId} in ${sandboxId}`);
      if (epoch !== undefined) refuseStale(held, epoch);
      return known.read(after, signal);
    },
    acknowledge({ sandboxId, commandId, line }) {
      const { commands, lastLine = 0 } = sandboxes.get(sandboxId) ?? {};
      if (commandId !== undefined) commands?.get(commandId)?.acknowledge(line);
      // What a command will say is its own reader's to judge.
      else for (const held of [...(commands?.values() ?? [])]) held.acknowledge(Math.min(line, lastLine));
    },
    inventory: () =>
      [...sandboxes.values()].map(({ id, sessionId, epoch, status, lastLine, commands }) => ({
        id,
        ...(sessionId === undefined ? {} : { sessionId }),
        epoch,
        status,
        lastLine,
        commands: [...commands.keys()],
      })),
    get busy() {
      return [...sandboxes.values()].some(({ commands }) => commands.size > 0);
    },
    ended: () => [...sandboxes.values()].flatMap(({ untold }) => untold ?? []),
    acknowledgeEnded(sandboxIds) {
      for (const id of sandboxIds) {
        const held = sandboxes.get(id);
        if (held) held.untold = undefined;
      }
      forgetEnded();
    },
    onEnded: (listener) => void listeners.push(listener),
    onSweep: (listener) => void sweepListeners.push(listener),
  };
}

function newHeld({ jobId, epoch, sandbox }: CreateSandbox): Held {
  const { id, workspaceId, sessionId } = sandbox;
  return {
    id,
    workspaceId,
    sessionId,
    epoch,
    jobId,
    status: 'starting',
    lastLine: 0,
    untold: undefined,
    commands: new Map(),
  };
}

function refuseStale(held: Held, epoch: number): void {
  if (epoch < held.epoch) throw new AtollError('stale_epoch', `sandbox ${held.id} is at epoch ${held.epoch}`);
}

async function* counted(held: Held, events: AsyncIterable<CommandEvent>): AsyncGenerator<CommandEvent> {
  for await (const event of events) {
    held.lastLine = Math.max(held.lastLine, event.line);
    yield event;
  }
}
