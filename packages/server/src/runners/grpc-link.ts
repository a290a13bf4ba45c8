/**
 * The link to a runner that dialled in: everything goes over one stream, which may break and come again while the
 * runner's lease runs. What was asked and not answered is asked again then, commands after the last line that came; when
 * the lease is over, whatever waits ends with cause `runner_lost`.
 */
import { AtollError } from '@atoll/protocol/errors';
import type {
  CoordinatorMessages,
  OneOf,
  RunnerMessages,
  SandboxMessage,
} from '@atoll/protocol/grpc-messages';
import { newId } from '@atoll/protocol/ids';
import type { CreateSandbox, SandboxInventory, TakenSnapshot } from '@atoll/protocol/runner-link';
import { sandboxStatuses } from '@atoll/protocol/statuses';
import { createAcks } from './acks.ts';
import { createGrpcCommands, type GrpcCommands } from './grpc-commands.ts';
import { failureOf } from './grpc-events.ts';
import { createGrpcFiles, type GrpcFiles } from './grpc-files.ts';
import { type RemoteLink, soundSnapshot } from './remote-link.ts';
import { createUnanswered } from './unanswered.ts';

type Outgoing = OneOf<CoordinatorMessages>;
type Job = Partial<CoordinatorMessages['job']> & { jobId: string; type: string };
type JobUpdate = RunnerMessages['jobUpdate'];

/** Where messages go while the runner is connected. */
export type RunnerStream = {
  send(message: Outgoing): void;
  /** It is not the runner's any more. */
  end(): void;
};

export type GrpcLink = RemoteLink & {
  /** The runner is connected by this stream from now on. */
  attach(stream: RunnerStream): void;
  /** That stream is gone; another may come. */
  detach(stream: RunnerStream): void;
  /** Takes what the runner said of its work. Throws `invalid_request` for what it may not say. */
  receive<N extends keyof Incoming>(name: N, message: Incoming[N]): void;
};

/** What is the link's business of all that a runner says. */
export type Incoming = Pick<
  RunnerMessages,
  'inventory' | 'jobUpdate' | keyof GrpcCommands['receivers'] | keyof GrpcFiles['receivers']
>;

/** A runner holds what came in twice that time. */
const ACK_MS = 4;

type OpenJob = { job: Job; answer: PromiseWithResolvers<JobUpdate> };

export function createGrpcLink(runnerId: string, onLost: () => void): GrpcLink {
  const jobs = new Map<string, OpenJob>();
  /** Of the sandboxes made over this link: nobody waits for an answer to a cancel or a decision, so it is given here. */
  const epochs = new Map<string, number>();
  const unanswered = createUnanswered<Outgoing>(() => performance.now());
  let stream: RunnerStream | undefined;
  let inventory = Promise.withResolvers<readonly SandboxInventory[]>();
  let gone = false;
  let connected = Promise.withResolvers<void>();
  inventory.promise.catch(() => undefined);

  const send = (message: Outgoing) => stream?.send(message);
  const commands = createGrpcCommands(send);
  const files = createGrpcFiles({
    send,
    async connected() {
      await connected.promise;
      if (gone) throw new AtollError('runner_lost');
    },
  });
  const acks = createAcks({
    afterMs: ACK_MS,
    async send(all) {
      for (const { sandboxId, commandId, line } of all)
        say(`ack ${commandId}`, { ack: { sandboxId, commandId, line } });
    },
  });

  function say(about: string, message: Outgoing): void {
    unanswered.add(about, message);
    send(message);
  }

  async function run(job: Job): Promise<JobUpdate> {
    if (gone) throw new AtollError('runner_lost');
    const open = jobs.get(job.jobId) ?? { job, answer: Promise.withResolvers<JobUpdate>() };
    jobs.set(job.jobId, open);
    send({ job });
    const update = await open.answer.promise;
    if (update.status !== 'completed') throw failureOf(update);
    return update;
  }

  function refuseStale({ sandboxId, epoch }: { sandboxId: string; epoch: number }): void {
    const known = epochs.get(sandboxId) ?? 0;
    if (epoch < known) throw new AtollError('stale_epoch', `sandbox ${sandboxId} is at epoch ${known}`);
  }

  /** What is to be gone is gone with the runner. */
  async function unlessLost(job: Job): Promise<void> {
    await run(job).catch((error: unknown) => {
      if (!(error instanceof AtollError && error.code === 'runner_lost')) throw error;
    });
  }

  const receivers: { [N in keyof Incoming]: (message: Incoming[N]) => void } = {
    inventory({ sandboxes }) {
      inventory.resolve(sandboxes.map(inventoryOf));
    },
    jobUpdate(update) {
      if (update.status !== 'completed' && update.status !== 'failed') return;
      const open = jobs.get(update.jobId);
      // Not a job of this runner, or one that was answered, or an earlier attempt at it.
      if (!open || (open.job.epoch ?? 0) !== update.epoch) return;
      jobs.delete(update.jobId);
      open.answer.resolve(update);
    },
    ...commands.receivers,
    ...files.receivers,
  };

  function detach(old: RunnerStream): void {
    if (stream !== old) return;
    stream = undefined;
    const error = new AtollError('runner_unreachable', `the connection of runner ${runnerId} broke off`);
    connected = Promise.withResolvers();
    inventory.reject(error);
    inventory = Promise.withResolvers();
    inventory.promise.catch(() => undefined);
    files.break(error);
  }

  return {
    runnerId,
    elsewhere: true,
    inventory: () => inventory.promise,
    async createSandbox(request) {
      await run(createJob(request));
      epochs.set(request.sandbox.id, request.epoch);
    },
    async claimSandbox({ sandboxId, epoch, traceparent = '', executor, env }) {
      const sandbox = { executor: Buffer.from(JSON.stringify(executor)), env };
      await run({
        jobId: newId('job'),
        type: 'claim',
        sandboxId,
        epoch,
        traceparent,
        sandbox: filled(sandbox),
      });
      epochs.set(sandboxId, epoch);
    },
    async deleteSandbox(request) {
      await unlessLost({ jobId: newId('job'), type: 'delete', ...request });
      epochs.delete(request.sandboxId);
    },
    sweep: ({ keep }) => unlessLost({ jobId: newId('job'), type: 'sweep', keepWorkspaces: [...keep] }),
    command: (request) => commands.read(request, 0),
    reattach: commands.read,
    acknowledge: acks.add,
    async cancel({ sandboxId, epoch, commandId }) {
      refuseStale({ sandboxId, epoch });
      say(`cancel ${commandId}`, { cancelCommand: { sandboxId, epoch, commandId } });
    },
    async decide({ sandboxId, epoch, requestId, decision }) {
      refuseStale({ sandboxId, epoch });
      const json = Buffer.from(JSON.stringify(decision));
      say(`decision ${sandboxId} ${requestId}`, {
        approval: { sandboxId, epoch, requestId, decision: json },
      });
    },
    // The runner tells it with its heartbeat.
    onSandboxEnded: () => undefined,
    files: files.calls,
    async snapshot({ workspaceId, tenant, epoch, base, passing = false }): Promise<TakenSnapshot> {
      const job = {
        jobId: newId('job'),
        type: 'snapshot',
        workspaceId,
        tenant,
        epoch,
        snapshotId: base ?? '',
        passing,
      };
      const { snapshot } = await run(job);
      if (!snapshot) throw new AtollError('snapshot_failed', 'the runner did not say what it took');
      const { root, files: count, sizeBytes, storedBytes, skipped, firstSkipped } = snapshot;
      if (!/^[0-9a-f]{64}$/.test(root))
        throw new AtollError('snapshot_failed', 'the runner named no snapshot');
      const left = { count: skipped, first: firstSkipped };
      return soundSnapshot({ root, files: count, sizeBytes, storedBytes, skipped: left });
    },
    async restore({ workspaceId, tenant, root, epoch }) {
      await run({ jobId: newId('job'), type: 'restore', workspaceId, tenant, epoch, snapshotId: root });
    },
    lost() {
      gone = true;
      acks.close();
      const error = new AtollError('runner_lost');
      for (const { answer } of jobs.values()) answer.reject(error);
      jobs.clear();
      commands.lose();
      files.break(error);
      inventory.reject(error);
      stream = undefined;
      connected.resolve();
      onLost();
    },
    attach(next) {
      const old = stream;
      if (old) {
        detach(old);
        old.end();
      }
      stream = next;
      connected.resolve();
      for (const { job } of jobs.values()) send({ job });
      commands.again();
      for (const message of unanswered.again()) send(message);
    },
    detach,
    receive(name, message) {
      receivers[name](message);
    },
  };
}

function inventoryOf({
  id,
  sessionId,
  epoch,
  status,
  lastLine,
  commands,
}: RunnerMessages['inventory']['sandboxes'][number]): SandboxInventory {
  const known = sandboxStatuses.find((name) => name === status) ?? 'ready';
  return { id, epoch, status: known, lastLine, commands, ...(sessionId === '' ? {} : { sessionId }) };
}

/** A message with what was not said. */
function filled(sandbox: Partial<SandboxMessage>): SandboxMessage {
  return sandbox as SandboxMessage;
}

export function createJob({ jobId, epoch, traceparent = '', sandbox }: CreateSandbox): Job {
  const { id, snapshot, executor, limits, budget, egress, ...rest } = sandbox;
  const message: Partial<SandboxMessage> = {
    ...rest,
    ...limits,
    ...(snapshot && { snapshotId: snapshot.root, snapshotEpoch: snapshot.epoch }),
    ...(executor && { executor: Buffer.from(JSON.stringify(executor)) }),
    budgetRequests: budget?.requests ?? 0,
    budgetTokens: budget?.tokens ?? 0,
    egress: [...(egress ?? [])],
  };
  return { jobId, type: 'create', epoch, sandboxId: id, traceparent, sandbox: filled(message) };
}
