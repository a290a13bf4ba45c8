import type {
  JobStatus,
  JobType,
  RunnerStatus,
  SandboxStatus,
  SessionStatus,
  TurnStatus,
} from '@atoll/protocol/statuses';

/**
 * The rows. Every one has a tenant (I12), and every one that an assignment writes has its epoch (I6). Times are ISO
 * 8601 in UTC; `Json` columns hold text that the module owning the row writes and parses.
 */
export type Tables = {
  meta: { key: string; value: string };
  keys: KeyRow;
  agents: AgentRow;
  agent_versions: AgentVersionRow;
  sessions: SessionRow;
  turns: TurnRow;
  approvals: ApprovalRow;
  sandboxes: SandboxRow;
  jobs: JobRow;
  runners: RunnerRow;
  registrations: RegistrationRow;
  logs: LogRow;
  log_chunks: LogChunkRow;
  log_checkpoints: LogCheckpointRow;
  credentials: CredentialRow;
  model_use: ModelUseRow;
  snapshots: SnapshotRow;
  sandbox_snapshots: SandboxSnapshotRow;
  usage_days: UsageDayRow;
};

type Json = string;
type Time = string;

export type KeyRow = {
  id: string;
  tenant: string;
  role: 'admin' | 'client' | 'runner';
  name: string | null;
  /** SHA-256 (hex) of the key; the key itself is never stored. */
  hash: string;
  created_at: Time;
  expires_at: Time | null;
};

/** Primary key (tenant, name). */
export type AgentRow = { tenant: string; name: string; created_at: Time; updated_at: Time };

/** Primary key (tenant, agent, version). Versions count from 1 for each agent. */
export type AgentVersionRow = {
  tenant: string;
  agent: string;
  version: number;
  /** SHA-256 (hex) of folder and settings together. */
  hash: string;
  /** The manifest's blob: the files of the folder. */
  manifest_hash: string;
  /** Parsed and merged settings: executor, env, limits, demands, … */
  settings: Json;
  created_at: Time;
};

export type SessionRow = {
  id: string;
  tenant: string;
  agent: string;
  agent_version: number;
  status: SessionStatus;
  cause: string | null;
  detail: string | null;
  /** Rises with every assignment to a runner. */
  epoch: number;
  runner_id: string | null;
  /** The latest sandbox, alive or ended. */
  sandbox_id: string | null;
  log_id: string;
  /** The session that it was forked from, and its last event that both have. */
  parent_id: string | null;
  parent_seq: number | null;
  /** Whose workspace a fork began with. */
  snapshot_seq: number | null;
  /** What was asked for at creation: model, systemPrompt, env, … */
  settings: Json;
  metadata: Json;
  usage: Json;
  /** executorSessionId, projectDir, hostname, executorProfile. */
  binding: Json;
  created_at: Time;
  updated_at: Time;
  ended_at: Time | null;
};

/** Primary key (session_id, id). */
export type TurnRow = {
  id: string;
  tenant: string;
  session_id: string;
  epoch: number;
  status: TurnStatus;
  cause: string | null;
  detail: string | null;
  /** Seq of its `input`, of the `status` that started it, of its `done`. */
  input_seq: number;
  start_seq: number | null;
  done_seq: number | null;
  usage: Json | null;
  /** 1: it has partial messages that are not compacted. */
  partials: 0 | 1;
  /** Unique with session_id where not null. */
  idempotency_key: string | null;
  /** SHA-256 (hex) of the body that came with the key. */
  request_hash: string | null;
  created_at: Time;
  ended_at: Time | null;
};

export type ApprovalRow = {
  id: string;
  tenant: string;
  session_id: string;
  /** That asked last. */
  turn_id: string;
  epoch: number;
  /** The runner's own id of what was asked last, counted within the epoch. */
  request_id: string | null;
  status: 'requested' | 'resolved';
  kind: 'tool' | 'question';
  tool: string;
  input: Json;
  options: Json;
  /** SHA-256 (hex) of tool and input, canonical: the same call has the same one. */
  call_hash: string;
  /** What was decided: decision, message, answers. */
  decision: Json | null;
  /** Why it was cancelled. */
  cause: string | null;
  /** 0 while a call may still be answered by it: it is open, or decided and no executor heard it. */
  spent: 0 | 1;
  created_at: Time;
  resolved_at: Time | null;
};

export type SandboxRow = {
  id: string;
  tenant: string;
  /** null: a bare one. */
  session_id: string | null;
  /** null: it has no place yet. */
  runner_id: string | null;
  epoch: number;
  status: SandboxStatus;
  cause: string | null;
  detail: string | null;
  /** Of a bare one: its name, and the rest of what was asked for. */
  name: string | null;
  request: Json | null;
  created_at: Time;
  ready_at: Time | null;
  ended_at: Time | null;
  /** 1: its time is in usage_days. */
  counted: 0 | 1;
};

export type JobRow = {
  id: string;
  tenant: string;
  type: JobType;
  sandbox_id: string;
  session_id: string | null;
  runner_id: string | null;
  epoch: number;
  status: JobStatus;
  attempts: number;
  cause: string | null;
  detail: string | null;
  created_at: Time;
  updated_at: Time;
  /** What it takes, or puts in place. */
  snapshot_id: string | null;
};

export type RunnerRow = {
  id: string;
  tenant: string;
  hostname: string;
  address: string;
  link: 'local' | 'http' | 'grpc';
  status: RunnerStatus;
  registration_id: string;
  /** Rises with every registration. */
  epoch: number;
  capacity: number;
  /** Places taken; changed by compare-and-set only, never above capacity. */
  reserved: number;
  labels: Json;
  executor_profiles: Json;
  drivers: Json;
  version: string;
  /** null: embedded, no wall-clock lease (I6). */
  lease_until: Time | null;
  /** SHA-256 (hex) of its callback token; null: embedded, or registered before that was kept. */
  callback_hash: string | null;
  created_at: Time;
};

/** From when to when a runner was there: one for each time that it registered. */
export type RegistrationRow = {
  id: string;
  tenant: string;
  runner_id: string;
  hostname: string;
  capacity: number;
  created_at: Time;
  ended_at: Time | null;
};

/**
 * A log is a chain: a fork's log names its parent and the last seq it shares with it, and holds only what came
 * after. last_seq, line and epoch are the compare-and-set guard of every append.
 */
export type LogRow = {
  id: string;
  tenant: string;
  session_id: string;
  parent_id: string | null;
  parent_seq: number | null;
  last_seq: number;
  /** The highest runner line that this log holds; makes a re-send harmless. */
  line: number;
  epoch: number;
  /** 1: only what forks share is left of it. */
  erased: 0 | 1;
  /** How often events were taken out of it. */
  compactions: number;
  /** All that was ever appended, and what of that is in usage_days. */
  bytes: number;
  counted_bytes: number;
  created_at: Time;
};

/** Primary key (log_id, first_seq). A row holds the SSE frames of first_seq..last_seq. */
export type LogChunkRow = {
  log_id: string;
  tenant: string;
  epoch: number;
  first_seq: number;
  last_seq: number;
  time: Time;
  frames: Uint8Array;
};

/** Primary key (log_id, seq): what the events up to there come to. */
export type LogCheckpointRow = { log_id: string; tenant: string; seq: number; state: Json };

/** Primary key (tenant, name). */
export type CredentialRow = {
  tenant: string;
  name: string;
  /** Rises each time it is set. */
  version: number;
  /** Kind, hosts, agents, methods, paths, …: all but the value. Sealed together with it: a changed one opens nothing. */
  settings: Json;
  /** Which secret key sealed it. */
  key_id: string;
  sealed: Uint8Array;
  fingerprint: string;
  created_at: Time;
  updated_at: Time;
};

/** Of a session with a budget, all its sandboxes together. Primary key session_id. */
export type ModelUseRow = { session_id: string; tenant: string; requests: number; tokens: number };

/** Primary key (tenant, day, agent, session_id). Days are UTC's. `agent` or `session_id` is '' where there is none any more. */
export type UsageDayRow = {
  tenant: string;
  day: string;
  agent: string;
  session_id: string;
  turns: number;
  model_requests: number;
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  cost_usd: number;
  sandbox_seconds: number;
  log_bytes: number;
  snapshot_bytes: number;
};

/** Workspace and home of a session as they were after the event `seq`. */
export type SnapshotRow = {
  id: string;
  tenant: string;
  session_id: string;
  epoch: number;
  seq: number;
  status: 'complete' | 'failed';
  /** The blob that everything else of it is found from; null when it failed. */
  root: string | null;
  cause: string | null;
  detail: string | null;
  files: number;
  /** Of all its files; and what it added to the blob store, before compression. */
  size_bytes: number;
  stored_bytes: number;
  /** Sockets, FIFOs, devices and what could not be read: left out. */
  skipped: number;
  created_at: Time;
  ended_at: Time;
};

/** Of a sandbox without a session; it is complete. */
export type SandboxSnapshotRow = Pick<
  SnapshotRow,
  'id' | 'tenant' | 'files' | 'size_bytes' | 'stored_bytes' | 'skipped' | 'created_at'
> & { sandbox_id: string; root: string };
