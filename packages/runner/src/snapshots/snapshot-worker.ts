/**
 * The thread that looks through trees, so that the event loop never waits for a disk or a hash. Its work is synchronous
 * between two breaths of a few milliseconds; jobs take turns at them. It reads and writes files of workspaces and
 * nothing else: blobs go through the event loop.
 */
import { rm } from 'node:fs/promises';
import { setImmediate as nextTick } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { AtollError } from '@atoll/protocol/errors';
import { type KnownTree, knownTreeFile, readKnownTree, writeKnownTree } from './known-tree.ts';
import { rebuild } from './rebuild.ts';
import { scan } from './scan.ts';
import type {
  BlobAnswer,
  RebuildRequest,
  ScanAnswer,
  ScanRequest,
  ThreadError,
  ThreadReply,
  ThreadRequest,
} from './thread-messages.ts';

const BREATH_MS = 5;
/** A tree of this size is not looked through twice. */
const MAX_LOOKED_TWICE = 2000;
/** The event loop may look through a tree of this size itself: it takes less than to ask here. */
const MAX_LOOKED_AT_THERE = 100;
/** Of all workspaces together, in memory; the others are read from disk. */
const MAX_KNOWN_ENTRIES = 100_000;

/** What is known is on disk that much later: it is as long as the list of files, and a turn may have changed one. */
const WRITTEN_AFTER_MS = 5_000;

const directory = String(workerData);
const trees = new Map<string, KnownTree>();
/** Those that are on disk as they were, or not at all. */
const unwritten = new Set<string>();
let writing: Promise<void> = Promise.resolve();
let timer: NodeJS.Timeout | undefined;
const stopped = new Map<number, ThreadError>();
const calls = new Map<number, { resolve(answer: BlobAnswer): void }>();
let lastCall = 0;

parentPort?.on('message', (request: ThreadRequest) => {
  if (request.kind === 'scan') run(request.job, () => scanWorkspace(request.job, request));
  else if (request.kind === 'rebuild') run(request.job, () => rebuildWorkspace(request.job, request));
  else if (request.kind === 'stop') stopped.set(request.job, request.reason);
  else if (request.kind === 'blob') calls.get(request.call)?.resolve(request);
  else if (request.kind === 'close') void writeTrees().finally(() => parentPort?.close());
  else forget(request.workspaceId);
});

function run(job: number, work: () => Promise<ScanAnswer | undefined>): void {
  work()
    .then(
      (scanned) => reply({ kind: 'done', job, scanned }),
      (error: unknown) => reply({ kind: 'done', job, error: toThreadError(error) }),
    )
    .finally(() => stopped.delete(job));
}

async function scanWorkspace(job: number, request: ScanRequest): Promise<ScanAnswer | undefined> {
  const { workspaceId, base, onlyIfSame } = request;
  const known = base === null ? undefined : await knownTree(workspaceId, base);
  if (onlyIfSame && (known === undefined || known.entries.length > MAX_LOOKED_TWICE)) return undefined;
  const put = (content: Uint8Array) => putBlob(job, content);
  const scanned = await scan({ ...request, known, put, breathe: breathing(job) });
  if (scanned === undefined) return undefined;
  if (request.passing) return { taken: scanned.taken };
  remember(workspaceId, scanned.tree);
  if (scanned.tree.root !== known?.root) writeLater(workspaceId);
  const { taken, tree } = scanned;
  return tree.entries.length > MAX_LOOKED_AT_THERE ? { taken } : { taken, tree };
}

async function rebuildWorkspace(job: number, request: RebuildRequest): Promise<undefined> {
  const get = (hash: string) => getBlob(job, hash);
  const tree = await rebuild({ ...request, get, breathe: breathing(job) });
  remember(request.workspaceId, tree);
  writeLater(request.workspaceId);
}

async function knownTree(workspaceId: string, root: string): Promise<KnownTree | undefined> {
  const tree = trees.get(workspaceId) ?? (await writing.then(() => readKnownTree(fileOf(workspaceId))));
  return tree?.root === root ? tree : undefined;
}

/** The workspaces that were used last. */
function remember(workspaceId: string, tree: KnownTree): void {
  trees.delete(workspaceId);
  trees.set(workspaceId, tree);
  let entries = 0;
  for (const [id, { entries: of }] of [...trees].reverse()) {
    entries += of.length;
    if (entries <= MAX_KNOWN_ENTRIES) continue;
    write(id);
    trees.delete(id);
  }
}

function writeLater(workspaceId: string): void {
  unwritten.add(workspaceId);
  timer ??= setTimeout(() => void writeTrees(), WRITTEN_AFTER_MS);
}

function writeTrees(): Promise<void> {
  clearTimeout(timer);
  timer = undefined;
  for (const id of [...unwritten]) write(id);
  return writing;
}

/** One after the other. Where the disk refuses, everything is read next time. */
function write(workspaceId: string): void {
  const tree = trees.get(workspaceId);
  if (!tree || !unwritten.delete(workspaceId)) return;
  writing = writing.then(() => writeKnownTree(fileOf(workspaceId), tree)).catch(() => undefined);
}

function forget(workspaceId: string): void {
  trees.delete(workspaceId);
  unwritten.delete(workspaceId);
  writing = writing.then(() => rm(fileOf(workspaceId), { force: true })).catch(() => undefined);
}

function fileOf(workspaceId: string): string {
  return knownTreeFile(directory, workspaceId);
}

function breathing(job: number): () => Promise<void> {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < BREATH_MS) return;
    await nextTick();
    since = performance.now();
    const reason = stopped.get(job);
    if (reason) throw new AtollError(reason.code, reason.detail);
  };
}

async function putBlob(job: number, content: Uint8Array): Promise<string> {
  const answer = await ask((call) => reply({ kind: 'put', job, call, content }));
  if ('hash' in answer) return answer.hash;
  throw fromThread(answer);
}

async function getBlob(job: number, hash: string): Promise<Uint8Array> {
  const answer = await ask((call) => reply({ kind: 'get', job, call, hash }));
  if ('content' in answer) return answer.content;
  throw fromThread(answer);
}

async function ask(send: (call: number) => void): Promise<BlobAnswer> {
  const call = ++lastCall;
  const { promise, resolve } = Promise.withResolvers<BlobAnswer>();
  calls.set(call, { resolve });
  send(call);
  return promise.finally(() => calls.delete(call));
}

function reply(message: ThreadReply): void {
  parentPort?.postMessage(message);
}

function fromThread(answer: BlobAnswer): AtollError {
  if ('error' in answer) return new AtollError(answer.error.code, answer.error.detail);
  return new AtollError('internal');
}

function toThreadError(error: unknown): ThreadError {
  if (error instanceof AtollError) return { code: error.code, detail: error.detail };
  const reason = error instanceof Error ? error.message : String(error);
  return { code: 'snapshot_failed', detail: `The files could not be looked through or written: ${reason}.` };
}
