/** What crosses between the event loop and the thread that looks through trees. */
import type { ErrorCode } from '@atoll/protocol/errors';
import type { TakenSnapshot } from '@atoll/protocol/runner-link';
import type { SandboxOwner } from '../driver.ts';
import type { KnownTree } from './known-tree.ts';

export type ThreadRequest =
  | ({ kind: 'scan'; job: number } & ScanRequest)
  | ({ kind: 'rebuild'; job: number } & RebuildRequest)
  /** The job ends as soon as it notices. */
  | { kind: 'stop'; job: number; reason: ThreadError }
  /** What is known of a workspace is worth nothing any more. */
  | { kind: 'forget'; workspaceId: string }
  | ({ kind: 'blob'; call: number } & BlobAnswer)
  /** It ends when what it knows is on disk. */
  | { kind: 'close' };

export type ScanRequest = {
  workspaceId: string;
  directory: string;
  base: string | null;
  maxBytes: number;
  onlyIfSame: boolean;
  /** What is found is not remembered: the next one is compared with `base` again. */
  passing?: boolean;
};

export type RebuildRequest = { workspaceId: string; directory: string; root: string; owner: SandboxOwner };

export type BlobAnswer = { content: Uint8Array } | { hash: string } | { error: ThreadError };

export type ThreadReply =
  | { kind: 'put'; job: number; call: number; content: Uint8Array }
  | { kind: 'get'; job: number; call: number; hash: string }
  /** `scanned` undefined: of a scan, something differs; a rebuilding has none. */
  | { kind: 'done'; job: number; scanned?: ScanAnswer | undefined; error?: ThreadError };

/** `tree`: what is known of it now, where that is little. */
export type ScanAnswer = { taken: TakenSnapshot; tree?: KnownTree };

export type ThreadError = { code: ErrorCode; detail: string };
