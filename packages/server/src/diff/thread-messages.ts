/** What crosses between the event loop and the thread that compares trees. */
import { AtollError, type ErrorCode } from '@atoll/protocol/errors';
import type { Places } from './compare.ts';
import type { Page } from './page.ts';

/** A tree by the hash that leads to it: of a snapshot's root, or of the manifest of an agent's folder. */
export type TreeRef = { kind: 'snapshot' | 'agent'; hash: string };
export type SideName = 'from' | 'to';

export type CompareRequest = { from: TreeRef; to: TreeRef; limit: number; places: Places | undefined };

export type ThreadRequest =
  | ({ kind: 'compare'; job: number } & CompareRequest)
  | { kind: 'blob'; call: number; content?: Uint8Array; error?: ThreadError };

export type ThreadReply =
  | { kind: 'get'; job: number; call: number; side: SideName; hash: string }
  | { kind: 'done'; job: number; page?: Page; error?: ThreadError };

export type ThreadError = { code: ErrorCode; detail: string };

export function toThreadError(error: unknown, code: ErrorCode, what: string): ThreadError {
  if (error instanceof AtollError) return { code: error.code, detail: error.detail };
  return { code, detail: `${what}: ${error instanceof Error ? error.message : String(error)}.` };
}
