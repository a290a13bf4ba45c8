/** Blobs on their way to the coordinator, few at a time, and small pieces of files gathered into packs. */
import { hash } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';
import type { Part } from '@atoll/protocol/snapshot-format';

/** Stores a blob and answers with its SHA-256 (hex). */
export type PutBlob = (content: Uint8Array) => Promise<string>;

export type Putting = {
  /** Resolves with its hash when there is room for the next one; it need not be stored yet. */
  put(content: Uint8Array, name?: string): Promise<string>;
  /** Resolves when everything is stored. */
  finish(): Promise<void>;
  readonly storedBytes: number;
};

const MAX_UNDER_WAY = 4;

export function createPutting(store: PutBlob): Putting {
  const underWay = new Set<Promise<void>>();
  let storedBytes = 0;
  let failed: { error: unknown } | undefined;

  async function storeAs(name: string, content: Uint8Array): Promise<void> {
    try {
      const given = await store(content);
      if (given !== name) throw new AtollError('snapshot_failed', `the blob ${name} was stored as ${given}`);
    } catch (error) {
      failed ??= { error };
    }
  }

  return {
    async put(content, name = hash('sha256', content, 'hex')) {
      storedBytes += content.length;
      const stored = storeAs(name, content).finally(() => underWay.delete(stored));
      underWay.add(stored);
      while (underWay.size >= MAX_UNDER_WAY) await Promise.race(underWay);
      if (failed) throw failed.error;
      return name;
    },
    async finish() {
      await Promise.all(underWay);
      if (failed) throw failed.error;
    },
    get storedBytes() {
      return storedBytes;
    },
  };
}

/** A part of a file, with the SHA-256 of its bytes: what the next look at the file compares. */
export type Piece = Part & { readonly hash: string };

export type Packs = {
  /** Copies bytes with that hash. Where the piece lies is known after the next `flush`. */
  add(bytes: Uint8Array, hash: string): Promise<Piece>;
  flush(): Promise<void>;
};

const PACK_BYTES = 1024 * 1024;
/** A piece of this size is a blob of its own: the same one in another file is the same blob. */
const OWN_BLOB_BYTES = 256 * 1024;

export function createPacks(putting: Putting): Packs {
  let memory: Uint8Array | undefined;
  let filled = 0;
  let waiting: { blob: string | null }[] = [];

  async function flush(): Promise<void> {
    if (filled === 0) return;
    const content = memory?.slice(0, filled) ?? new Uint8Array();
    const pieces = waiting;
    filled = 0;
    waiting = [];
    const blob = await putting.put(content);
    for (const piece of pieces) piece.blob = blob;
  }

  return {
    async add(bytes, own) {
      const { length } = bytes;
      if (length >= OWN_BLOB_BYTES)
        return { blob: await putting.put(bytes.slice(), own), offset: 0, length, hash: own };
      if (filled + length > PACK_BYTES) await flush();
      memory ??= new Uint8Array(PACK_BYTES);
      memory.set(bytes, filled);
      const piece = { blob: null, offset: filled, length, hash: own };
      filled += length;
      waiting.push(piece);
      return piece;
    },
    flush,
  };
}
