/** Rows of sandboxes and jobs: how they are shown. */
import type { OperationParams } from '@atoll/protocol/operations';
import type { Job, Sandbox } from '@atoll/protocol/schemas/sandbox';
import type { JobRow, SandboxRow } from '../store/tables.ts';

/** What a bare sandbox was asked for, but for its name. */
export type SandboxWish = Omit<OperationParams<'sandbox.create'>, 'name' | 'wait' | 'allowSecretEnv'>;

export function wishOf({ request }: SandboxRow): SandboxWish {
  return request === null ? {} : (JSON.parse(request) as SandboxWish);
}

export function showSandbox(row: SandboxRow): Sandbox {
  const { image = null, cpu = null, memoryMb = null, timeoutMs = null, snapshotId = null } = wishOf(row);
  return {
    id: row.id,
    name: row.name,
    sessionId: row.session_id,
    runnerId: row.runner_id,
    epoch: row.epoch,
    status: row.status,
    cause: row.cause,
    detail: row.detail,
    image,
    cpu,
    memoryMb,
    timeoutMs,
    snapshotId,
    createdAt: row.created_at,
    readyAt: row.ready_at,
    endedAt: row.ended_at,
  };
}

export function showJob(row: JobRow): Job {
  return {
    id: row.id,
    type: row.type,
    sandboxId: row.sandbox_id,
    sessionId: row.session_id,
    runnerId: row.runner_id,
    snapshotId: row.snapshot_id,
    epoch: row.epoch,
    status: row.status,
    attempts: row.attempts,
    cause: row.cause,
    detail: row.detail,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
