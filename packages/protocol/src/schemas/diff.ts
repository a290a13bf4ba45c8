import * as v from 'valibot';
import { count, nextCursor, seq } from './common.ts';

/**
 * What differs between two states of a workspace. Names are bytes: what is not UTF-8 in one shows as U+FFFD, and then the
 * member beside it (`…Bytes`, base64, otherwise null) says it exactly.
 */

export const entryTypes = ['file', 'directory', 'symlink', 'hardlink'] as const;

/** Something at a path. Of a `hardlink`, which is another name of the file at `target`, mode and size are that file's. */
export const entryLooks = v.object({
  type: v.picklist(entryTypes),
  mode: count,
  sizeBytes: count,
  /** Where a symlink leads, as it is written there; of a hardlink, a path of the workspace. */
  target: v.nullable(v.string()),
  targetBytes: v.nullable(v.string()),
});
export type EntryLooks = v.InferOutput<typeof entryLooks>;

export const fileChange = v.object({
  /** In the workspace. */
  path: v.string(),
  pathBytes: v.nullable(v.string()),
  change: v.picklist(['added', 'changed', 'removed']),
  before: v.nullable(entryLooks),
  after: v.nullable(entryLooks),
  /** Of text whose content differs: a unified diff, as `patch` and `git apply` take it. */
  diff: v.nullable(v.string()),
  /** Why content that differs has no `diff`. */
  omitted: v.nullable(v.picklist(['binary', 'too_large'])),
});
export type FileChange = v.InferOutput<typeof fileChange>;

export const workspaceDiff = v.object({
  /** Of the snapshots that were compared; 0: the agent's folder, as the session began with it. */
  fromSeq: seq,
  /** null: the files as they are now. */
  toSeq: v.nullable(seq),
  changes: v.array(fileChange),
  nextCursor,
});
