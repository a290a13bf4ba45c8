/**
 * The messages of runner.proto as its decoder gives them: every field is there and of its type, an empty string and a
 * zero mean "not said". What they say beyond that is checked where it is used.
 */
import type { Piece } from './byte-channel.ts';
import type { AtollError } from './errors.ts';

export type RunnerMessages = {
  register: {
    runnerId: string;
    address: string;
    capacity: number;
    labels: Record<string, string>;
    executorProfiles: string[];
    drivers: string[];
    hostname: string;
    version: string;
    protocolVersion: number;
    registrationId: string;
    callbackToken: string;
    incarnation: string;
  };
  heartbeat: { registrationId: string; ended: EndedSandbox[] };
  inventory: { sandboxes: SandboxState[] };
  jobUpdate: {
    jobId: string;
    epoch: number;
    status: string;
    cause: string;
    detail: string;
    sandboxId: string;
    snapshot?: TakenSnapshotMessage | null;
  };
  eventBatch: OfCommand & { firstLine: number; bytes: Uint8Array };
  commandOutput: OfCommand & { line: number; stream: string; text: string };
  approvalRequest: OfCommand & { line: number; requestId: string; request: Uint8Array };
  commandEnd: OfCommand & {
    line: number;
    status: string;
    cause: string;
    detail: string;
    executorSessionId: string;
    usage: Uint8Array;
    exitCode?: number;
    timedOut: boolean;
    sandboxEnded: boolean;
  };
  fileAnswer: {
    requestId: string;
    cause: string;
    detail: string;
    sizeBytes: number;
    contentBytes: number;
    modifiedAt: string;
    created: boolean;
    files: { path: string; type: string; sizeBytes: number; mode: number; modifiedAt: string }[];
    nextCursor: string;
  };
  fileChunk: ChunkMessage;
  blobRequest: { requestId: string; op: string; tenant: string; hash: string };
  blobChunk: ChunkMessage;
  window: WindowMessage;
  deregister: { registrationId: string };
};

export type CoordinatorMessages = {
  registered: { registrationId: string; leaseMs: number; heartbeatMs: number; apiUrl: string };
  leaseRenewed: { leaseMs: number; heard: string[] };
  job: {
    jobId: string;
    type: string;
    epoch: number;
    sandboxId: string;
    traceparent: string;
    sandbox?: SandboxMessage | null;
    workspaceId: string;
    cause: string;
    keep: boolean;
    tenant: string;
    snapshotId: string;
    keepWorkspaces: string[];
    passing: boolean;
  };
  command: {
    commandId: string;
    sandboxId: string;
    epoch: number;
    traceparent: string;
    method: string;
    params: Uint8Array;
    after: number;
  };
  cancelCommand: { commandId: string; sandboxId: string; epoch: number };
  ack: { sandboxId: string; line: number; commandId: string };
  approval: { sandboxId: string; epoch: number; requestId: string; decision: Uint8Array };
  fileRequest: {
    requestId: string;
    op: string;
    workspaceId: string;
    path: string;
    offset: number;
    length?: number;
    prefix: string;
    limit: number;
    cursor: string;
  };
  fileChunk: ChunkMessage;
  blobAnswer: { requestId: string; cause: string; detail: string; sizeBytes: number };
  blobChunk: ChunkMessage;
  window: WindowMessage;
};

/** One of them under its name; as it is decoded, `message` says which. */
export type OneOf<Messages> = {
  [Name in keyof Messages]: { [N in Name]: Partial<Messages[N]> };
}[keyof Messages];
export type Decoded<Messages> = { message?: keyof Messages } & Partial<Messages>;

type OfCommand = { sandboxId: string; epoch: number; commandId: string };
export type ChunkMessage = {
  requestId: string;
  bytes: Uint8Array;
  last: boolean;
  cause: string;
  detail: string;
};
export type WindowMessage = { requestId: string; bytes: number };
export type EndedSandbox = {
  sandboxId: string;
  sessionId: string;
  epoch: number;
  cause: string;
  detail: string;
};
export type SandboxState = {
  id: string;
  sessionId: string;
  epoch: number;
  status: string;
  lastLine: number;
  commands: string[];
};
export type TakenSnapshotMessage = {
  root: string;
  files: number;
  sizeBytes: number;
  storedBytes: number;
  skipped: number;
  firstSkipped: { path: string; reason: string }[];
};
export type SandboxMessage = {
  name: string;
  image: string;
  env: Record<string, string>;
  memoryMb: number;
  cpu: number;
  agentHash: string;
  snapshotId: string;
  snapshotEpoch: number;
  sessionId: string;
  tenant: string;
  workspaceId: string;
  fresh: boolean;
  parked: boolean;
  executor: Uint8Array;
  executorSessionId: string;
  executorBranches: boolean;
  processes: number;
  diskMb: number;
  openFiles: number;
  wallTimeMs: number;
  budgetRequests: number;
  budgetTokens: number;
  egress: string[];
};

/** Where the definition of the service is, for a gRPC library to load. */
export const runnerProto = new URL('../proto/atoll/runner/v1/runner.proto', import.meta.url);
/** Longest message of either side: a command with the longest line that a bridge takes, and what stands around it. */
export const MAX_MESSAGE_BYTES = 48 * 1024 * 1024;

/** A piece of a byte stream, as a message. */
export function chunkOf(requestId: string, { bytes, last, error }: Piece): ChunkMessage {
  return { requestId, bytes, last, cause: error?.code ?? '', detail: error?.detail ?? '' };
}

/** And back. `failure`: what its receiver makes of a cause. */
export function pieceOf(
  { bytes, last, cause, detail }: ChunkMessage,
  failure: (said: { cause: string; detail: string }) => AtollError,
): Piece {
  return { bytes, last, ...(cause === '' ? {} : { error: failure({ cause, detail }) }) };
}
