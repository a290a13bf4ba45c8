/**
 * What a runner does for the coordinator that it dialled: the same as over HTTP, by messages. It outlives each stream:
 * a job that is asked for again gets the answer that it had, a command goes on after the last line that came.
 */
import { type ByteChannel, createByteChannel } from '@atoll/protocol/byte-channel';
import { AtollError, asAtollError } from '@atoll/protocol/errors';
import {
  type CoordinatorMessages,
  chunkOf,
  type Decoded,
  pieceOf,
  type RunnerMessages,
  type SandboxMessage,
} from '@atoll/protocol/grpc-messages';
import { parse } from '@atoll/protocol/parse';
import type { CommandEvent, TakenSnapshot } from '@atoll/protocol/runner-link';
import { runnerOperations } from '@atoll/protocol/runner-operations';
import { newClaim, newCommand, newSandbox } from '@atoll/protocol/schemas/runner-link';
import * as v from 'valibot';
import { linesOf } from '../command-stream.ts';
import type { Logger } from '../logger.ts';
import { encodeEventBatch } from './event-batch.ts';
import type { GrpcStream, RunnerMessage } from './grpc-stream.ts';
import type { HeldLink } from './held-link.ts';

type Job = CoordinatorMessages['job'];
type JobAnswer = Partial<RunnerMessages['jobUpdate']>;
type Command = CoordinatorMessages['command'];
type FileRequest = CoordinatorMessages['fileRequest'];

export type GrpcService = {
  /** A new stream, after its registration. */
  attach(stream: GrpcStream): void;
  /** Throws `invalid_request` for what a coordinator may not say. */
  receive(message: Decoded<CoordinatorMessages>, stream: GrpcStream): void;
  /** How many are there. */
  readonly sandboxes: number;
};

/** Answers that are kept in case a job is asked for again. */
const MAX_ANSWERS = 1000;

const createParams = v.strictObject(newSandbox);
const claimParams = v.strictObject(newClaim);
const commandParams = v.strictObject(newCommand);
const { entries: decision } = runnerOperations['approval.decide'].params;
const decisionParams = v.strictObject({
  decision: decision.decision,
  message: decision.message,
  answers: decision.answers,
});

export function createGrpcService({ link, logger }: { link: HeldLink; logger: Logger }): GrpcService {
  const answers = new Map<string, Promise<JobAnswer>>();
  const files = new Map<string, ByteChannel>();
  let current: GrpcStream | undefined;

  function doJob(job: Job): void {
    // Another attempt at a job has another epoch, and may go better.
    const name = `${job.jobId} ${job.epoch}`;
    const known = answers.get(name);
    const answer = known ?? perform(job);
    answers.set(name, answer);
    const [oldest] = answers.keys();
    if (answers.size > MAX_ANSWERS && oldest !== undefined) answers.delete(oldest);
    const { jobId, epoch, sandboxId } = job;
    void answer.then((told) => current?.send({ jobUpdate: { jobId, epoch, sandboxId, ...told } }));
  }

  async function perform(job: Job): Promise<JobAnswer> {
    try {
      return { status: 'completed', ...(await performed(job)) };
    } catch (error) {
      const { code, detail } = asAtollError(error);
      return { status: 'failed', cause: code, detail };
    }
  }

  async function performed(job: Job): Promise<JobAnswer> {
    const { jobId, epoch, sandboxId, workspaceId, tenant, snapshotId, keep, passing } = job;
    switch (job.type) {
      case 'create':
        await link.createSandbox(
          parse(createParams, { jobId, epoch, ...traceOf(job), sandbox: sandboxOf(sandboxId, job.sandbox) }),
        );
        return {};
      case 'claim': {
        const { env, executor } = sandboxOf(sandboxId, job.sandbox);
        await link.claimSandbox({
          sandboxId,
          ...parse(claimParams, { epoch, ...traceOf(job), executor, env }),
        });
        return {};
      }
      case 'delete': {
        const whose = workspaceId === '' ? link.workspaceOf(sandboxId) : workspaceId;
        await link.deleteSandbox({ sandboxId, workspaceId: whose, epoch, cause: job.cause || 'ended', keep });
        return {};
      }
      case 'snapshot': {
        const base = snapshotId === '' ? null : snapshotId;
        const taken = await link.snapshot({ workspaceId, tenant, epoch, base, passing });
        return { snapshot: snapshotMessage(taken) };
      }
      case 'restore':
        await link.restore({ workspaceId, tenant, epoch, root: snapshotId });
        return {};
      case 'sweep':
        await link.sweep({ keep: job.keepWorkspaces });
        return {};
      default:
        throw new AtollError('invalid_request', `a job of the type ${job.type.slice(0, 100)}`);
    }
  }

  /** To its end, or to that of the stream. */
  async function run(message: Command, stream: GrpcStream): Promise<void> {
    const { commandId, sandboxId, epoch, after } = message;
    const of = { commandId, sandboxId, epoch };
    try {
      const command = { method: message.method, params: readJson(message.params) };
      const asked = parse(commandParams, { commandId, epoch, ...traceOf(message), command });
      for await (const event of link.command({ sandboxId, ...asked }, { after, signal: stream.signal }))
        await stream.send(eventMessage(of, event));
    } catch (error) {
      const { code, detail } = asAtollError(error);
      await stream.send({ commandEnd: { ...of, line: after + 1, status: 'refused', cause: code, detail } });
    }
  }

  async function doFile(request: FileRequest, stream: GrpcStream): Promise<void> {
    const { requestId } = request;
    const channel = createByteChannel({
      piece: (piece) => stream.send({ fileChunk: chunkOf(requestId, piece) }),
      window: (bytes) => void stream.send({ window: { requestId, bytes } }),
    });
    files.set(requestId, channel);
    try {
      await fileDone(request, channel, (answer) => stream.send({ fileAnswer: { requestId, ...answer } }));
    } catch (error) {
      const { code, detail } = asAtollError(error);
      await stream.send({ fileAnswer: { requestId, cause: code, detail } });
    } finally {
      files.delete(requestId);
    }
  }

  async function fileDone(
    { op, path, offset, length, prefix, limit, cursor, ...of }: FileRequest,
    channel: ByteChannel,
    answer: (answer: Partial<RunnerMessages['fileAnswer']>) => Promise<void> | undefined,
  ): Promise<void> {
    const workspaceId = link.workspaceOf(of.workspaceId);
    switch (op) {
      case 'read': {
        const range = { offset, length: length ?? Number.MAX_SAFE_INTEGER };
        const { content, ...about } = await link.files.read({ workspaceId, path, range });
        await answer(about);
        // What fails from here on, the channel has told.
        return channel.send(content).catch((err) => logger.warn({ err }, 'a file was not sent whole'));
      }
      case 'write':
        await answer(await link.files.write({ workspaceId, path, content: channel.received }));
        return;
      case 'remove':
        await link.files.remove({ workspaceId, path });
        await answer({});
        return;
      case 'list': {
        const page = await link.files.list({
          workspaceId,
          limit: Math.min(limit || 100, 1000),
          ...(prefix === '' ? {} : { prefix }),
          ...(cursor === '' ? {} : { cursor }),
        });
        await answer({ files: page.files, nextCursor: page.nextCursor ?? '' });
        return;
      }
      default:
        throw new AtollError('invalid_request', `a file request of the kind ${op.slice(0, 100)}`);
    }
  }

  return {
    attach(stream) {
      current = stream;
      stream.signal.addEventListener('abort', () => {
        if (current === stream) current = undefined;
        for (const channel of files.values()) channel.break(new AtollError('cancelled'));
      });
      const sandboxes = link.inventory().map(({ sessionId = '', ...rest }) => ({ ...rest, sessionId }));
      void stream.send({ inventory: { sandboxes } });
    },
    get sandboxes() {
      return link.inventory().filter(({ status }) => status !== 'ended').length;
    },
    receive({ message: name, ...said }, stream) {
      if (name === 'job' && said.job) doJob(said.job);
      else if (name === 'command' && said.command) void run(said.command, stream);
      else if (name === 'ack' && said.ack) {
        const { sandboxId, commandId, line } = said.ack;
        link.acknowledge({ sandboxId, line, ...(commandId === '' ? {} : { commandId }) });
      } else if (name === 'cancelCommand' && said.cancelCommand) untold(link.cancel(said.cancelCommand));
      else if (name === 'approval' && said.approval) untold(decide(said.approval));
      else if (name === 'fileRequest' && said.fileRequest) void doFile(said.fileRequest, stream);
      else if (name === 'fileChunk' && said.fileChunk) {
        const piece = pieceOf(
          said.fileChunk,
          ({ cause, detail }) => new AtollError('cancelled', detail || cause),
        );
        if (files.get(said.fileChunk.requestId)?.onPiece(piece) === false)
          throw new AtollError('invalid_request', 'a file chunk beyond its window');
      } else if (name === 'window' && said.window)
        files.get(said.window.requestId)?.onWindow(said.window.bytes);
    },
  };

  async function decide({ sandboxId, epoch, requestId, decision: json }: CoordinatorMessages['approval']) {
    const { message, answers: given, ...told } = parse(decisionParams, readJson(json));
    const decided = {
      ...told,
      ...(message === undefined ? {} : { message }),
      ...(given === undefined ? {} : { answers: given }),
    };
    await link.decide({ sandboxId, epoch, requestId, decision: decided });
  }

  /** Nobody waits for it: what it is about has ended, or is of an older assignment. */
  function untold(done: Promise<void>): void {
    done.catch((err) => logger.warn({ err }, 'the coordinator asked for what could not be done'));
  }
}

/** A sandbox's request as the links know it: what was not said is absent. */
function sandboxOf(id: string, message: SandboxMessage | null | undefined) {
  if (!message) throw new AtollError('invalid_request', 'the job names no sandbox');
  const { env, fresh, tenant, workspaceId, egress, executor, snapshotId, snapshotEpoch } = message;
  const limits = given({
    memoryMb: message.memoryMb,
    cpu: message.cpu,
    processes: message.processes,
    diskMb: message.diskMb,
    openFiles: message.openFiles,
    wallTimeMs: message.wallTimeMs,
  });
  const budget = given({ requests: message.budgetRequests, tokens: message.budgetTokens });
  return {
    id,
    tenant,
    workspaceId,
    fresh,
    env,
    ...given({
      sessionId: message.sessionId,
      agentHash: message.agentHash,
      parked: message.parked,
      image: message.image,
      executorSessionId: message.executorSessionId,
      executorBranches: message.executorBranches,
    }),
    ...(snapshotId === '' ? {} : { snapshot: { root: snapshotId, epoch: snapshotEpoch } }),
    ...(executor.length === 0 ? {} : { executor: readJson(executor) }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(Object.keys(budget).length === 0 ? {} : { budget }),
    ...(egress.length === 0 ? {} : { egress }),
  };
}

/** What was said: neither empty nor zero. */
function given(fields: Record<string, string | number | boolean>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => Boolean(value)));
}

function traceOf({ traceparent }: { traceparent: string }): { traceparent?: string } {
  return traceparent === '' ? {} : { traceparent };
}

function snapshotMessage({ skipped, ...taken }: TakenSnapshot) {
  return { ...taken, skipped: skipped.count, firstSkipped: [...skipped.first] };
}

function eventMessage(
  of: { commandId: string; sandboxId: string; epoch: number },
  event: CommandEvent,
): RunnerMessage {
  const { line } = event;
  switch (event.kind) {
    case 'messages':
      return encodeEventBatch({ ...of, firstLine: line - linesOf(event) + 1, messages: event.messages });
    case 'log':
      return { commandOutput: { ...of, line, stream: 'log', text: event.text } };
    case 'output':
      return { commandOutput: { ...of, line, stream: event.stream, text: event.text } };
    case 'approval':
      return {
        approvalRequest: {
          ...of,
          line,
          requestId: event.requestId,
          request: Buffer.from(JSON.stringify(event.request)),
        },
      };
    case 'end': {
      const { status, cause = '', detail = '', executorSessionId = '', usage, exitCode } = event;
      return {
        commandEnd: {
          ...of,
          line,
          status,
          cause,
          detail,
          executorSessionId,
          ...(usage === undefined ? {} : { usage: Buffer.from(JSON.stringify(usage)) }),
          ...(typeof exitCode === 'number' ? { exitCode } : {}),
          timedOut: event.timedOut ?? false,
          sandboxEnded: event.sandboxEnded ?? false,
        },
      };
    }
  }
}

function readJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
  } catch {
    throw new AtollError('invalid_request', 'what should be JSON is not');
  }
}
