/** What a runner is asked for when a bare sandbox is to be made. */
import type { CreateSandbox } from '@atoll/protocol/runner-link';
import type { SandboxRow } from '../store/tables.ts';
import { wishOf } from './rows.ts';

/** `root`: of the snapshot that it begins with. */
export function requestOf(
  row: SandboxRow,
  { jobId, epoch, root }: { jobId: string; epoch: number; root: string | undefined },
): CreateSandbox {
  const { env = {}, image, cpu, memoryMb, timeoutMs: wallTimeMs } = wishOf(row);
  const limits = {
    ...(cpu === undefined ? {} : { cpu }),
    ...(memoryMb === undefined ? {} : { memoryMb }),
    ...(wallTimeMs === undefined ? {} : { wallTimeMs }),
  };
  return {
    jobId,
    epoch,
    sandbox: {
      id: row.id,
      tenant: row.tenant,
      workspaceId: row.id,
      fresh: root === undefined,
      // Older than whatever an earlier attempt put in place.
      ...(root === undefined ? {} : { snapshot: { root, epoch: 0 } }),
      env,
      limits,
      ...(image === undefined ? {} : { image }),
    },
  };
}
