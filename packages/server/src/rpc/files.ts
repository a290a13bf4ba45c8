/**
 * Files of a workspace over JSON-RPC, a piece at a time, as base64. Reading names the piece. Writing sends the pieces in
 * order, all but the last with `more`; until the last one nothing of the file is seen. What is not finished is dropped
 * after a minute of silence, or with its connection.
 */
import { PassThrough } from 'node:stream';
import { AtollError } from '@atoll/protocol/errors';
import type { FileContent } from '@atoll/protocol/runner-link';
import { workerMethods } from '@atoll/protocol/worker-methods';
import { fromBase64 } from '../base64.ts';
import type { Handlers } from '../routes/handler.ts';
import { type Method, readParams } from './params.ts';

const MAX_UPLOADS = 16;
const SILENCE_MS = 60_000;

type Written = Awaited<ReturnType<Handlers['session.files.write']>>;
export type FileMethod =
  | 'session.files.read'
  | 'session.files.write'
  | 'sandbox.files.read'
  | 'sandbox.files.write';
type Upload = { body: PassThrough; written: Promise<Written>; sizeBytes: number; timer: NodeJS.Timeout };

export type FileMethods = {
  readonly methods: Readonly<Record<FileMethod, Method>>;
  /** Drops what is not finished. */
  close(): void;
};

export function createFileMethods(handlers: Handlers): FileMethods {
  const uploads = new Map<string, Upload>();

  async function read(
    { offset, ...piece }: { path: string; offset: number; length: number },
    open: (piece: { path: string; offset: number; length: number }) => Promise<FileContent>,
  ): Promise<unknown> {
    const found = await open({ offset, ...piece });
    const pieces: Uint8Array[] = [];
    for await (const bytes of found.content) pieces.push(bytes);
    const { sizeBytes, modifiedAt } = found;
    return { content: Buffer.concat(pieces).toString('base64'), offset, sizeBytes, modifiedAt };
  }

  async function write(
    owner: string,
    { path, offset, content, more }: { path: string; offset: number; content: string; more: boolean },
    store: (body: PassThrough) => Promise<Written>,
  ): Promise<unknown> {
    const bytes = fromBase64(content);
    if (!bytes) throw new AtollError('invalid_request', 'content is not valid base64');
    const key = `${owner}/${path}`;
    const upload = offset === 0 ? begin(key, store) : uploads.get(key);
    if (!upload || upload.sizeBytes !== offset) {
      drop(key);
      const at = upload?.sizeBytes ?? 0;
      throw new AtollError('invalid_request', `the next piece of ${path} begins at ${at}; begin again at 0`);
    }
    upload.sizeBytes += bytes.length;
    upload.timer.refresh();
    await Promise.race([taken(upload.body, bytes), upload.written]);
    if (more) return { file: { path, sizeBytes: upload.sizeBytes } };
    forget(key);
    upload.body.end();
    return upload.written;
  }

  function begin(key: string, store: (body: PassThrough) => Promise<Written>): Upload {
    drop(key);
    if (uploads.size >= MAX_UPLOADS)
      throw new AtollError('too_many_requests', `at most ${MAX_UPLOADS} files are written at a time`);
    const body = new PassThrough();
    const written = store(body);
    // Told to the call that waits; when none does, to the next one.
    written.catch(() => body.destroy());
    body.on('error', () => undefined);
    const timer = setTimeout(() => drop(key), SILENCE_MS);
    timer.unref();
    const upload = { body, written, sizeBytes: 0, timer };
    uploads.set(key, upload);
    return upload;
  }

  function forget(key: string): void {
    clearTimeout(uploads.get(key)?.timer);
    uploads.delete(key);
  }

  function drop(key: string): void {
    const upload = uploads.get(key);
    forget(key);
    upload?.body.destroy(new AtollError('invalid_request', 'the file was not sent whole'));
  }

  return {
    methods: {
      async 'session.files.read'(given, context) {
        const { sessionId, ...piece } = readParams(workerMethods['session.files.read'].params, given);
        return read(piece, (of) => handlers['session.files.read']({ sessionId, ...of }, context));
      },
      async 'session.files.write'(given, context) {
        const { sessionId, ...piece } = readParams(workerMethods['session.files.write'].params, given);
        const where = { sessionId, path: piece.path };
        return write(sessionId, piece, (body) => handlers['session.files.write'](where, context, body));
      },
      async 'sandbox.files.read'(given, context) {
        const { sandboxId, ...piece } = readParams(workerMethods['sandbox.files.read'].params, given);
        return read(piece, (of) => handlers['sandbox.files.read']({ sandboxId, ...of }, context));
      },
      async 'sandbox.files.write'(given, context) {
        const { sandboxId, ...piece } = readParams(workerMethods['sandbox.files.write'].params, given);
        const where = { sandboxId, path: piece.path };
        return write(sandboxId, piece, (body) => handlers['sandbox.files.write'](where, context, body));
      },
    },
    close() {
      for (const key of [...uploads.keys()]) drop(key);
    },
  };
}

/** Resolves when there is room for more. */
function taken(body: PassThrough, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    body.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}
