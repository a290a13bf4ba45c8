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
/** A request may come late, after what it asks for is long over: so many commands of a sandbox, and sandboxes, are known to be. */
const MAX_OVER = 1024;

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
  /** Settles when what worked on its files is gone. */
  begun: Promise<void>;
  lastLine: number;
  /** It ended without being asked to, and nobody heard of it. */
  untold: SandboxEnded | undefined;
  readonly commands: Map<string, HeldCommand>;
  /** Commands whose end was acknowledged. */
  readonly over: Map<string, undefined>;
};

export function createHeldLink(link: RunnerLink): HeldLink {
  const sandboxes = new Map<string, Held>();
  /** Assignments that are gone, or did not come to be for that reason: none of them begins again. */
  const over = new Map<string, unknown>();
  /** Of workspaces, the latest assignment that began. */
  const latest = new Map<string, number>();
  /** Not asked for yet: what works on their files has to go first. */
  const waiting = new Set<Held>();
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
    const { id } = request.sandbox;
    const known = sandboxes.get(id);
    // Another attempt at a job has another epoch: it is another assignment.
    const isKnown = known?.jobId === request.jobId && known.epoch === request.epoch;
    const held = isKnown ? known : newHeld(request);
    if (held === known && held.status === 'ended') throw endedError(id);
    try {
      if (held !== known) held.begun = begin(held).finally(() => waiting.delete(held));
      await held.begun;
      await link.createSandbox(request);
      if (held.status === 'starting') held.status = 'ready';
    } catch (error) {
      if (sandboxes.get(id) === held) forget(id, error);
      throw error;
    }
  }

  /** A later assignment takes the place of earlier ones on the same files; an earlier one is refused (I6). */
  async function begin(held: Held): Promise<void> {
    const { id, workspaceId, epoch } = held;
    const gone = () => over.get(assignmentOf(id, epoch));
    if (over.has(assignmentOf(id, epoch))) throw gone();
    const others = [...sandboxes.values()].filter(
      (other) => other.workspaceId === workspaceId && other.status !== 'ended',
    );
    refuseOlder(workspaceId, epoch, others);
    note(latest, workspaceId, epoch);
    // Whoever looks what is here while the others go, sees what comes.
    sandboxes.set(id, held);
    waiting.add(held);
    for (const other of others) {
      await link.deleteSandbox({ sandboxId: other.id, workspaceId, epoch, cause: 'ended', keep: true });
      if (sandboxes.get(other.id) === other) forget(other.id);
    }
    if (sandboxes.get(id) !== held) throw gone();
  }

  /** Files are those of the latest assignment, whether its sandbox is there or not; `others`: those that are. */
  function refuseOlder(workspaceId: string, epoch: number, others: readonly Held[] = []): void {
    const later = Math.max(latest.get(workspaceId) ?? 0, ...others.map((other) => other.epoch));
    if (later > epoch) throw new AtollError('stale_epoch', `workspace ${workspaceId} is at epoch ${later}`);
  }

  function forget(id: string, why: unknown = endedError(id)): void {
    const held = sandboxes.get(id);
    if (held) note(over, assignmentOf(id, held.epoch), why);
    sandboxes.delete(id);
  }

  const deleteSandbox: RunnerLink['deleteSandbox'] = async (request) => {
    const held = sandboxes.get(request.sandboxId);
    if (held) refuseStale(held, request.epoch);
    if (!request.keep) refuseOlder(request.workspaceId, request.epoch);
    if (held && waiting.has(held)) forget(held.id);
    const before = held?.status ?? 'ended';
    // Whoever asks for it meanwhile, late, does not get it again.
    if (held) held.status = 'ended';
    try {
      await link.deleteSandbox(request);
    } catch (error) {
      if (held) held.status = before;
      throw error;
    }
    // The assignment that it is asked for does not begin any more, either: that request may come later than this one.
    note(over, assignmentOf(request.sandboxId, request.epoch), endedError(request.sandboxId));
    // Whoever reads one of its commands now reads on to the end; nobody else will ask.
    forget(request.sandboxId);
  };

  function forgetEnded(): void {
    const gone = [...sandboxes.values()].filter(({ status }) => status === 'ended');
    const heard = gone.filter(({ untold, commands }) => untold === undefined && commands.size === 0);
    const oldest = gone.slice(0, Math.max(0, gone.length - MAX_ENDED));
    for (const { id } of [...heard, ...oldest]) forget(id);
  }

  function command(request: SandboxCommand, { after, signal }: Reading): AsyncIterable<CommandEvent> {
    const { sandboxId, epoch, commandId } = request;
    const held = sandboxes.get(sandboxId);
    if (!held) throw new AtollError('sandbox_failed', `sandbox ${sandboxId} is not running`);
    refuseStale(held, epoch);
    refuseAhead(held, after);
    const known = held.commands.get(commandId);
    if (known) return known.read(after, signal);
    if (held.over.has(commandId))
      throw new AtollError('invalid_cursor', `command ${commandId} is over, and its end was acknowledged`);
    if (held.commands.size >= MAX_COMMANDS)
      throw new AtollError('too_many_requests', 'the ends of too many commands were not acknowledged');
    const begun = createHeldCommand(counted(held, link.command(request)), () => {
      held.commands.delete(commandId);
      note(held.over, commandId, undefined);
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
    async snapshot(request) {
      refuseOlder(request.workspaceId, request.epoch);
      return link.snapshot(request);
    },
    restore: (request) => link.restore(request),
    workspaceOf: (id) => sandboxes.get(id)?.workspaceId ?? id,
    command,
    attach({ sandboxId, commandId, epoch }, { after, signal }) {
      const held = sandboxes.get(sandboxId);
      const known = held?.commands.get(commandId);
      if (!held || !known) throw new AtollError('not_found', `no command ${commandId} in ${sandboxId}`);
      if (epoch !== undefined) refuseStale(held, epoch);
      refuseAhead(held, after);
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
    begun: Promise.resolve(),
    lastLine: 0,
    untold: undefined,
    commands: new Map(),
    over: new Map(),
  };
}

function endedError(sandboxId: string): AtollError {
  return new AtollError('sandbox_failed', `sandbox ${sandboxId} has ended`);
}

function assignmentOf(sandboxId: string, epoch: number): string {
  return `${sandboxId} ${epoch}`;
}

/** The oldest is forgotten where there are too many. */
function note<T>(over: Map<string, T>, name: string, value: T): void {
  over.set(name, value);
  const [oldest] = over.keys();
  if (over.size > MAX_OVER && oldest !== undefined) over.delete(oldest);
}

function refuseStale(held: Held, epoch: number): void {
  if (epoch < held.epoch) throw new AtollError('stale_epoch', `sandbox ${held.id} is at epoch ${held.epoch}`);
}

/** Whoever says to have such a line has it from elsewhere, and would wait for what never comes. */
function refuseAhead(held: Held, after: number): void {
  if (after > held.lastLine)
    throw new AtollError('invalid_cursor', `the last line of sandbox ${held.id} is ${held.lastLine}`);
}

async function* counted(held: Held, events: AsyncIterable<CommandEvent>): AsyncGenerator<CommandEvent> {
  for await (const event of events) {
    held.lastLine = Math.max(held.lastLine, event.line);
    yield event;
  }
}
