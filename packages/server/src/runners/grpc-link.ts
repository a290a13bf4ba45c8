/**
 * The link to a runner that dialled in: everything goes over one stream, which may break and come again while the
 * runner's lease runs. What was asked and not answered is asked again then, commands after the last line that came; when
 * the lease is over, whatever waits ends with cause `runner_lost`.
 */
import { type ByteChannel, createByteChannel } from '@atoll/protocol/byte-channel';
import { AtollError, isErrorCode } from '@atoll/protocol/errors';
import {
  type CoordinatorMessages,
  chunkOf,
  type OneOf,
  pieceOf,
  type RunnerMessages,
  type SandboxMessage,
} from '@atoll/protocol/grpc-messages';
import { newId } from '@atoll/protocol/ids';
import type {
  CommandEvent,
  CreateSandbox,
  FileContent,
  SandboxCommand,
  SandboxFiles,
  SandboxInventory,
  TakenSnapshot,
} from '@atoll/protocol/runner-link';
import { sandboxStatuses } from '@atoll/protocol/statuses';
import { createAcks } from './acks.ts';
import { commandEndOf, messagesOf, outputOf } from './grpc-events.ts';
import { LOST, type RemoteLink, soundSnapshot } from './remote-link.ts';
import { createUnanswered } from './unanswered.ts';

type Outgoing = OneOf<CoordinatorMessages>;
type Job = Partial<CoordinatorMessages['job']> & { jobId: string; type: string };
type JobUpdate = RunnerMessages['jobUpdate'];
type FileRequest = Partial<CoordinatorMessages['fileRequest']>;

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
  | 'inventory'
  | 'jobUpdate'
  | 'eventBatch'
  | 'commandOutput'
  | 'approvalRequest'
  | 'commandEnd'
  | 'fileAnswer'
  | 'fileChunk'
  | 'window'
>;

/** A runner holds what came in twice that time. */
const ACK_MS = 4;
const MAX_UNREAD_BYTES = 64 * 1024 * 1024;

type OpenJob = { job: Job; answer: PromiseWithResolvers<JobUpdate> };
type OpenCommand = {
  request: SandboxCommand;
  /** The last line that came. */
  line: number;
  events: CommandEvent[];
  /** Of those, what nobody took. */
  unreadBytes: number;
  over: boolean;
  /** Why it was not begun. */
  refusal: AtollError | undefined;
  changed: PromiseWithResolvers<void>;
};
type OpenFile = { answer: PromiseWithResolvers<RunnerMessages['fileAnswer']>; channel: ByteChannel };

export function createGrpcLink(runnerId: string, onLost: () => void): GrpcLink {
  const jobs = new Map<string, OpenJob>();
  const commands = new Map<string, OpenCommand>();
  const files = new Map<string, OpenFile>();
  /** Of the sandboxes made over this link: nobody waits for an answer to a cancel or a decision, so it is given here. */
  const epochs = new Map<string, number>();
  const unanswered = createUnanswered<Outgoing>(() => performance.now());
  let stream: RunnerStream | undefined;
  let inventory = Promise.withResolvers<readonly SandboxInventory[]>();
  let gone = false;
  let fileIds = 0;
  let connected = Promise.withResolvers<void>();
  inventory.promise.catch(() => undefined);

  const send = (message: Outgoing) => stream?.send(message);
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

  function begin({ request, line: after }: OpenCommand): void {
    const { commandId, sandboxId, epoch, traceparent = '', command } = request;
    const params = Buffer.from(JSON.stringify(command.params));
    send({ command: { commandId, sandboxId, epoch, traceparent, method: command.method, params, after } });
  }

  async function* reattach(request: SandboxCommand, line: number): AsyncGenerator<CommandEvent> {
    const { commandId } = request;
    const open: OpenCommand = {
      request,
      line,
      events: [],
      unreadBytes: 0,
      over: false,
      refusal: undefined,
      changed: Promise.withResolvers(),
    };
    commands.set(commandId, open);
    try {
      begin(open);
      for (;;) {
        const next = open.events.shift();
        if (next) {
          open.unreadBytes -= bytesOf(next);
          yield next;
          if (next.kind === 'end') return;
        } else if (open.refusal) throw open.refusal;
        else if (gone) {
          yield { ...LOST, line: open.line + 1 };
          return;
        } else await open.changed.promise;
      }
    } finally {
      // Left early, the runner holds what came then until the sandbox is gone.
      if (commands.get(commandId) === open) commands.delete(commandId);
    }
  }

  function take({ commandId, sandboxId }: { commandId: string; sandboxId: string }, event: CommandEvent) {
    const open = commands.get(commandId);
    // Nobody reads it any more; or it comes twice, which a new stream may bring about.
    if (!open || open.over || open.request.sandboxId !== sandboxId || event.line <= open.line) return;
    if (!Number.isSafeInteger(event.line))
      throw new AtollError('invalid_request', `line ${event.line} is more than there can be`);
    const later = linesAfter(event, open.line);
    open.line = event.line;
    open.over = event.kind === 'end';
    open.events.push(later);
    open.unreadBytes += bytesOf(later);
    // A runner holds what was not acknowledged, and so sends far less.
    if (open.unreadBytes > MAX_UNREAD_BYTES)
      throw new AtollError('invalid_request', 'more of a command came than may be held unacknowledged');
    open.changed.resolve();
    open.changed = Promise.withResolvers();
  }

  async function openFile(request: FileRequest): Promise<OpenFile & { requestId: string }> {
    await connected.promise;
    if (gone) throw new AtollError('runner_lost');
    fileIds++;
    const requestId = `file_${fileIds}`;
    const channel = createByteChannel({
      piece: (piece) => send({ fileChunk: chunkOf(requestId, piece) }),
      window: (bytes) => send({ window: { requestId, bytes } }),
    });
    const file = { answer: Promise.withResolvers<RunnerMessages['fileAnswer']>(), channel };
    files.set(requestId, file);
    send({ fileRequest: { ...request, requestId } });
    return { ...file, requestId };
  }

  async function answered({ answer }: OpenFile): Promise<RunnerMessages['fileAnswer']> {
    const said = await answer.promise;
    if (said.cause !== '') throw failureOf(said);
    return said;
  }

  async function askFile(request: FileRequest): Promise<RunnerMessages['fileAnswer']> {
    const file = await openFile(request);
    try {
      return await answered(file);
    } finally {
      files.delete(file.requestId);
    }
  }

  const fileCalls: SandboxFiles = {
    async read({ workspaceId, path, range }): Promise<FileContent> {
      const { offset = 0, length } = range ?? {};
      const bounded = length === undefined || length === Number.MAX_SAFE_INTEGER ? {} : { length };
      const file = await openFile({ op: 'read', workspaceId, path, offset, ...bounded });
      try {
        const { sizeBytes, contentBytes, modifiedAt } = await answered(file);
        const { requestId } = file;
        const content = leaving(file.channel.received, (early) => {
          files.delete(requestId);
          if (early)
            send({
              fileChunk: { requestId, bytes: new Uint8Array(0), last: true, cause: 'cancelled', detail: '' },
            });
        });
        return { sizeBytes, contentBytes, modifiedAt, content };
      } catch (error) {
        files.delete(file.requestId);
        throw error;
      }
    },
    async write({ workspaceId, path, content }) {
      const file = await openFile({ op: 'write', workspaceId, path });
      try {
        // The runner may answer before it took everything; then its answer counts.
        const sent = file.channel.send(content).then(() => file.answer.promise);
        const said = await Promise.race([file.answer.promise, sent]);
        if (said.cause !== '') throw failureOf(said);
        return { sizeBytes: said.sizeBytes, created: said.created };
      } finally {
        file.channel.break(new AtollError('cancelled'));
        files.delete(file.requestId);
      }
    },
    remove: async (request) => void (await askFile({ op: 'remove', ...request })),
    async list({ workspaceId, prefix = '', limit, cursor = '' }) {
      const said = await askFile({ op: 'list', workspaceId, prefix, limit, cursor });
      return {
        files: said.files.map((file) => ({ ...file, type: fileType(file.type) })),
        nextCursor: said.nextCursor === '' ? null : said.nextCursor,
      };
    },
  };

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
    eventBatch: (batch) => take(batch, messagesOf(batch)),
    commandOutput: (output) => take(output, outputOf(output)),
    approvalRequest: (request) => take(request, outputOf(request)),
    commandEnd(end) {
      if (end.status !== 'refused') return take(end, commandEndOf(end));
      const open = commands.get(end.commandId);
      if (!open || open.over) return;
      open.over = true;
      open.refusal = failureOf(end);
      open.changed.resolve();
    },
    fileAnswer: (answer) => files.get(answer.requestId)?.answer.resolve(answer),
    fileChunk(chunk) {
      const inTurn = files.get(chunk.requestId)?.channel.onPiece(pieceOf(chunk, failureOf));
      if (inTurn === false) throw new AtollError('invalid_request', 'a file chunk beyond its window');
    },
    window: ({ requestId, bytes }) => files.get(requestId)?.channel.onWindow(bytes),
  };

  function breakFiles(error: AtollError): void {
    for (const { answer, channel } of files.values()) {
      answer.promise.catch(() => undefined);
      answer.reject(error);
      channel.break(error);
    }
    files.clear();
  }

  function detach(old: RunnerStream): void {
    if (stream !== old) return;
    stream = undefined;
    const error = new AtollError('runner_unreachable', `the connection of runner ${runnerId} broke off`);
    connected = Promise.withResolvers();
    inventory.reject(error);
    inventory = Promise.withResolvers();
    inventory.promise.catch(() => undefined);
    breakFiles(error);
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
    command: (request) => reattach(request, 0),
    reattach,
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
    files: fileCalls,
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
      for (const { changed } of commands.values()) changed.resolve();
      breakFiles(error);
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
      for (const open of commands.values()) if (!open.over) begin(open);
      for (const message of unanswered.again()) send(message);
    },
    detach,
    receive(name, message) {
      receivers[name](message);
    },
  };
}

function failureOf({ cause, detail }: { cause: string; detail: string }): AtollError {
  const said = detail === '' ? undefined : detail.slice(0, 16 * 1024);
  return new AtollError(isErrorCode(cause) ? cause : 'sandbox_failed', said ?? cause);
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

function fileType(type: string): 'file' | 'directory' | 'symlink' | 'other' {
  return type === 'file' || type === 'directory' || type === 'symlink' ? type : 'other';
}

/** Tells once that it was read to its end, or left early, which it may be before its first piece. */
function leaving(
  content: AsyncIterable<Uint8Array>,
  left: (early: boolean) => void,
): AsyncIterableIterator<Uint8Array> {
  const pieces = content[Symbol.asyncIterator]();
  let done = false;
  const leave = (early: boolean) => {
    if (!done) left(early);
    done = true;
  };
  return {
    async next() {
      if (done) return { done: true, value: undefined };
      try {
        const piece = await pieces.next();
        if (piece.done) leave(false);
        return piece;
      } catch (error) {
        leave(true);
        throw error;
      }
    },
    async return() {
      leave(true);
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

function bytesOf(event: CommandEvent): number {
  if (event.kind === 'messages') return event.messages.bytes.length;
  return event.kind === 'log' || event.kind === 'output' ? event.text.length : 0;
}

/** Of messages that came in part before, the others. */
function linesAfter(event: CommandEvent, after: number): CommandEvent {
  if (event.kind !== 'messages') return event;
  const { bytes, spans } = event.messages;
  const known = after - (event.line - spans.length / 2);
  return known <= 0 ? event : { ...event, messages: { bytes, spans: spans.subarray(2 * known) } };
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
