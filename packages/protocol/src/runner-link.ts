/**
 * How coordinator and runner talk, whatever the link (local, http, grpc): the types of what crosses it. The
 * coordinator owns sessions and the log; the runner owns sandboxes. Every call carries the epoch of its
 * assignment, and an older one is refused with `stale_epoch` (I6).
 */

import type { Duplex } from 'node:stream';
import type { ApprovalDecision, ApprovalPolicy, ApprovalRequest } from './approvals.ts';
import type { ExecutorKind } from './executor-kinds.ts';
import type { AccessRecord } from './schemas/access.ts';
import type { SandboxStatus } from './statuses.ts';

export type RunnerLink = {
  readonly runnerId: string;
  /** The runner is another process: it is some way off, and its work is none of this process's. */
  readonly elsewhere?: boolean;
  /**
   * Makes a sandbox and answers when its bridge answered `initialize`. The same jobId again gives the same
   * answer. Rejects with `sandbox_failed`, `executor_failed`, `no_capacity` or `stale_epoch`.
   */
  createSandbox(request: CreateSandbox): Promise<void>;
  /**
   * Gives a parked sandbox to its session, once: from then on it is as one that `createSandbox` made with these.
   * Rejects with `sandbox_failed`; then it is of no more use to anybody.
   */
  claimSandbox(request: ClaimSandbox): Promise<void>;
  /** Ends the sandbox; its files stay when `keep`. Nothing happens to what is already gone. */
  deleteSandbox(request: DeleteSandbox): Promise<void>;
  /** Removes the files of every workspace that is not in `keep` and has no sandbox. */
  sweep(request: { keep: readonly string[] }): Promise<void>;
  /**
   * Runs one command in a sandbox. The iterator pulls: what it does not take waits in the runner, then in the
   * executor (backpressure end to end, I9). Ends after an `end` event, always. Leaving the iterator early does
   * not stop the command; `cancel` does.
   */
  command(request: SandboxCommand): AsyncIterable<CommandEvent>;
  /**
   * Takes what the executor has said since its last command, or its start: the first messages of the next one, which can
   * be kept together with its input. A runner elsewhere has none of this: there they come with the command.
   */
  said?(request: { sandboxId: string; epoch: number }): readonly MessagesEvent[];
  /**
   * What the command said up to that line is kept here, as far as it has to be: a runner elsewhere need not hold it to
   * say it again. Never rejects, and nobody waits for it.
   */
  acknowledge(request: { sandboxId: string; epoch: number; commandId: string; line: number }): void;
  /** Interrupts a running command: it still ends with its `end`. */
  cancel(request: { sandboxId: string; epoch: number; commandId: string }): Promise<void>;
  /** Answers an `approval` of a running command. Nothing happens when nobody waits for it any more. */
  decide(request: {
    sandboxId: string;
    epoch: number;
    requestId: string;
    decision: ApprovalDecision;
  }): Promise<void>;
  /** Told once for each sandbox that ended without being asked to. */
  onSandboxEnded(listener: (ended: SandboxEnded) => void): void;
  readonly files: SandboxFiles;
  /**
   * Takes a snapshot of a workspace and its home, whether a sandbox works on them or not; its processes stand still
   * while their files are looked at. When it resolves, all of it is in the coordinator's `snapshots`.
   * Rejects with `snapshot_failed`, `storage_failed` or `stale_epoch`; then the workspace is as before.
   */
  snapshot(request: TakeSnapshot): Promise<TakenSnapshot>;
  /**
   * Puts a snapshot's files in the place of what the workspace holds, unless that is as new: written under `epoch` or
   * a later one. Rejects with `snapshot_failed`, `storage_failed`, or `illegal_transition` while a sandbox works on it.
   */
  restore(request: RestoreSnapshot): Promise<void>;
};

export type TakeSnapshot = {
  workspaceId: string;
  tenant: string;
  epoch: number;
  /** The session's latest complete snapshot: what is in it need not be stored again. */
  base: string | null;
  /** To be looked at and then forgotten: no later one has it as `base`, and nothing stands still for it. */
  passing?: boolean;
};

export type TakenSnapshot = {
  /** The same as `base` when nothing changed. */
  root: string;
  files: number;
  /** Of all files; and what was stored anew, before compression. */
  sizeBytes: number;
  storedBytes: number;
  skipped: SkippedFiles;
};

/** What a snapshot has to leave out: how many, and the first few of them with the reason. */
export type SkippedFiles = { count: number; first: readonly { path: string; reason: string }[] };

export type RestoreSnapshot = { workspaceId: string; tenant: string } & SnapshotSource;

/** A snapshot to begin from, and the epoch of the assignment that it was taken under. */
export type SnapshotSource = { root: string; epoch: number };

export type CreateSandbox = { jobId: string; epoch: number; traceparent?: string; sandbox: SandboxRequest };

/** What a session may have that its agent has not; what else its sandbox is made with has to be the same. */
export type ClaimSandbox = {
  sandboxId: string;
  epoch: number;
  traceparent?: string;
  executor: ExecutorRequest;
  env: Record<string, string>;
};

export type SandboxRequest = {
  id: string;
  sessionId?: string;
  tenant: string;
  /** Content hash of the agent version whose folder fills a new workspace; absent for a bare sandbox. */
  agentHash?: string;
  /** Whose files it works on: workspace and home outlive the sandbox under this id, on this runner. */
  workspaceId: string;
  /** Made ahead of its session: it waits for its `claimSandbox`, and nothing comes out of it till then. */
  parked?: boolean;
  /** What it runs in, where the driver has images; absent: the driver's own. */
  image?: string;
  /**
   * Begin with a copy of the agent folder; otherwise with the files that are there, or else with `snapshot`. Where there is
   * neither, it is as if this were true, and no conversation is gone on with.
   */
  fresh: boolean;
  /** Where files come from that are not on this runner, or are older than it. */
  snapshot?: SnapshotSource;
  /** Absent: it only runs commands. */
  executor?: ExecutorRequest;
  /** The conversation to go on with: the bridge gets `resume` before its first query. */
  executorSessionId?: string;
  /** It is another session's: what is said from now on gets a name of its own, where the executor can. */
  executorBranches?: boolean;
  env: Record<string, string>;
  limits?: Partial<ResourceLimits>;
  /** What its session may spend on models; absent: as much as it likes. */
  budget?: ModelBudget;
  /** Patterns of the hosts that it may reach through its gateway, each in its one spelling; left out: none. */
  egress?: readonly string[];
};

/**
 * What an agent asks of the runner's executor profile of that name: its settings lie over the profile's. Without a kind
 * it takes the profile's; another kind than the profile's is refused.
 */
export type ExecutorRequest = Omit<ExecutorSettings, 'kind'> & { profile: string; kind?: ExecutorKind };

/** What the bridge is told in `initialize`: which executor to drive, and with what. */
export type ExecutorSettings = {
  kind: ExecutorKind;
  /** `acp` and `program`: what to start, relative to the workspace. */
  command?: readonly string[];
  model?: string;
  systemPrompt?: string;
  permissionMode?: string;
  allowedTools?: readonly string[];
  disallowedTools?: readonly string[];
  mcpServers?: Record<string, unknown>;
  /** By pattern of tool names, in which `*` stands for anything; the longest pattern that fits counts. */
  approvals?: Readonly<Record<string, ApprovalPolicy>>;
};

export type ResourceLimits = {
  memoryMb: number;
  cpu: number;
  processes: number;
  diskMb: number;
  openFiles: number;
  wallTimeMs: number;
};

/** Of all a session's sandboxes together: calls that cost tokens, and tokens read and written, cached ones too. */
export type ModelUse = { requests: number; tokens: number };
export type ModelBudget = Partial<ModelUse>;

export type DeleteSandbox = {
  sandboxId: string;
  workspaceId: string;
  epoch: number;
  cause: string;
  keep: boolean;
};

export type SandboxCommand = {
  sandboxId: string;
  epoch: number;
  commandId: string;
  traceparent?: string;
  command: BridgeCommand;
};

/** What runs in a sandbox as a command (protocols §1). `content` is a string or content blocks, passed on as received. */
export type BridgeCommand =
  | { method: 'query'; params: { turnId: string; content: unknown; options: QueryOptions } }
  | { method: 'exec'; params: { command: string; cwd?: string; timeoutMs?: number } };

export type QueryOptions = {
  model?: string;
  maxTurns?: number;
  maxBudgetUsd?: number;
  outputFormat?: unknown;
  includePartialMessages?: boolean;
};

/**
 * What a command said, and the number of its line. A sandbox counts the lines of all its commands, each message and each
 * other event one; `line` is the event's last. So within a command they rise, and whoever knows the last line that it
 * got can go on after it.
 */
export type CommandEvent = CommandOutput & { line: number };
export type MessagesEvent = CommandEvent & { kind: 'messages' };

export type CommandOutput =
  | { kind: 'messages'; messages: Messages }
  /** What the executor wrote to its stderr; bounded. */
  | { kind: 'log'; text: string }
  /** The executor waits until `decide` answers it, or its command ends. The id is the runner's own. */
  | { kind: 'approval'; requestId: string; request: ApprovalRequest }
  | { kind: 'output'; stream: 'stdout' | 'stderr'; text: string }
  | CommandEnd;

/**
 * Messages where they stand in the bytes that the bridge wrote, so that nobody copies or searches them again (I3):
 * message i is `bytes` from `spans[2 * i]` up to, without, `spans[2 * i + 1]`. Each is one JSON object by its looks,
 * in UTF-8, without CR, LF and NUL.
 */
export type Messages = { bytes: Uint8Array; spans: Uint32Array };

export type CommandEnd = {
  kind: 'end';
  status: 'completed' | 'failed' | 'interrupted';
  /** Why, when it did not complete (I10). */
  cause?: string;
  detail?: string;
  executorSessionId?: string;
  usage?: Record<string, unknown>;
  /** `exec` only. */
  exitCode?: number | null;
  timedOut?: boolean;
  /** The command ended because its sandbox did; `cause` says why. */
  sandboxEnded?: boolean;
};

export type SandboxEnded = {
  sandboxId: string;
  sessionId?: string;
  epoch: number;
  cause: string;
  detail: string;
};

/** What a runner elsewhere says of one sandbox. */
export type SandboxInventory = {
  id: string;
  sessionId?: string;
  epoch: number;
  status: SandboxStatus;
  /** The last line that its commands gave out. */
  lastLine: number;
  /** The ids of those that run, or whose end was not acknowledged. */
  commands: string[];
};

/** Workspace files, whether a sandbox works on them or not. */
export type SandboxFiles = {
  /** Of a range, its bytes alone; less where the file ends before. */
  read(request: FileRequest & { range?: FileRange }): Promise<FileContent>;
  write(
    request: FileRequest & { content: AsyncIterable<Uint8Array> },
  ): Promise<{ sizeBytes: number; created: boolean }>;
  remove(request: FileRequest): Promise<void>;
  list(request: { workspaceId: string; prefix?: string; limit: number; cursor?: string }): Promise<FilePage>;
};

export type FileRequest = { workspaceId: string; path: string };
export type FileRange = { offset: number; length: number };
/** `sizeBytes`: of the whole file; `contentBytes`: of what was asked for. */
export type FileContent = {
  sizeBytes: number;
  contentBytes: number;
  modifiedAt: string;
  content: AsyncIterable<Uint8Array>;
};
export type FilePage = { files: WorkspaceFile[]; nextCursor: string | null };
export type WorkspaceFile = {
  path: string;
  type: 'file' | 'directory' | 'symlink' | 'other';
  sizeBytes: number;
  mode: number;
  modifiedAt: string;
};

/** The coordinator's API, as a gateway uses it. */
export type CoordinatorApi = {
  readonly url: string;
  /** A connection to it inside of this process, where no port leads to it. */
  readonly connect?: () => Duplex;
  /**
   * A token of narrow reach for one assignment of a session; never `refused`, an earlier one that was turned down. Rejects
   * with `stale_epoch` or `session_ended`, and from elsewhere with `coordinator_unreachable` or `timed_out`, too.
   */
  sessionToken(request: { sessionId: string; epoch: number; refused?: string | undefined }): Promise<string>;
};

/** What a runner asks of its coordinator. */
export type Coordinator = CoordinatorApi & {
  readonly agents: AgentSource;
  readonly snapshots: SnapshotBlobs;
  /**
   * What the gateway of an assignment may add to its traffic. Where several fit a request, the first counts: those
   * that are for this agent alone come before the others, each in the order of their names. Rejects as `sessionToken` does.
   */
  credentials(request: { sessionId: string; epoch: number }): Promise<readonly GatewayCredential[]>;
  /**
   * What an assignment's gateway let pass and refused, for the session's log; at most `maxAccessRecords` at a time.
   * Resolves when it is on disk. Rejects with `stale_epoch`.
   */
  recordAccess(request: AccessReport): Promise<void>;
  /**
   * Adds to what a session with a budget has spent, and answers with all of it. `exhausted`, for its log: why calls are
   * refused from now on. An older epoch is heard too: what was spent is spent. Rejects with `not_found`.
   */
  modelUse(request: { sessionId: string; epoch: number; exhausted?: string } & ModelUse): Promise<ModelUse>;
};

export type AccessReport = {
  sessionId: string;
  epoch: number;
  records: readonly AccessRecord[];
  /** How many more there were since the last report, which nobody kept. */
  dropped: number;
};

/** A credential as a gateway uses it. Never logged, stored or shown: it lives in the memory of that gateway alone. */
export type GatewayCredential = {
  readonly name: string;
  readonly version: number;
  readonly target:
    | { readonly at: 'hosts'; readonly hosts: readonly string[] }
    | { readonly at: 'anthropic' | 'openai'; readonly url: string }
    | { readonly at: 'mcp'; readonly server: string; readonly url: string };
  /** undefined: all of them, or what the target allows by itself. */
  readonly methods: readonly string[] | undefined;
  /** Prefixes that end where a segment does. */
  readonly paths: readonly string[] | undefined;
  readonly header: { readonly name: string; readonly value: string };
  /** The literals that must not come back into the sandbox, in whatever is replied. */
  readonly secrets: readonly string[];
};

/**
 * Where a runner gets agent folders from: by content hash, over its link. It verifies what it gets, and holds no
 * credential of the blob store.
 */
export type AgentSource = {
  manifest(request: { tenant: string; hash: string }): Promise<AgentManifest>;
  file(request: { tenant: string; hash: string }): Promise<Uint8Array>;
};

/** An agent version: its files by SHA-256 (hex) of their content. Its own hash is `agentHash` of this. */
export type AgentManifest = { files: AgentFileEntry[] };
export type AgentFileEntry = { path: string; hash: string; sizeBytes: number; executable: boolean };

/** Where a runner puts the content of snapshots, and gets it from: by content hash, as agent folders. */
export type SnapshotBlobs = {
  /** Durable when it resolves, with its SHA-256 (hex). Rejects with `storage_failed`. */
  put(request: { tenant: string; content: Uint8Array }): Promise<string>;
  /** Verified. Rejects with `not_found` or `storage_failed`, each naming the blob. */
  get(request: { tenant: string; hash: string }): Promise<Uint8Array>;
};
