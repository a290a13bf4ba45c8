import { AtollError } from '@atoll/protocol/errors';

/**
 * Just enough of ELF (64 bits, little-endian: x86-64 and arm64) to have a program load by another loader, and its
 * libraries from another folder, than it was linked for. Nothing in the file moves: both paths are written where the
 * loader's path stood, and one of the entries that linkers leave free at the end of the dynamic section becomes
 * DT_RPATH.
 */
export type Relocated = {
  program: Uint8Array;
  /** The loader it was linked for; undefined when it needs none, and is as it was. */
  loader: string | undefined;
};

const magic = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
const segmentTypes = { dynamic: 2, loader: 3 } as const;
const tags = { none: 0n, strings: 5n, rpath: 15n } as const;
const entryBytes = 16;

type Segment = { offset: number; address: bigint; size: number };

/** Throws AtollError `sandbox_failed` when the file is not of that form, or has not the room. */
export function withLoader(
  program: Buffer,
  { loader, libraries }: { loader: string; libraries: string },
): Relocated {
  if (!program.subarray(0, magic.length).equals(magic))
    throw unfit('it is not a program for Linux on 64 bits');
  const where = findSegment(program, segmentTypes.loader);
  const dynamic = findSegment(program, segmentTypes.dynamic);
  if (!where || !dynamic) return { program, loader: undefined };
  const former = program.toString('latin1', where.offset, where.offset + where.size - 1);
  const paths = Buffer.from(`${loader}\0${libraries}\0`);
  if (paths.length > where.size) throw unfit(`there is no room for ${loader} in place of ${former}`);
  const { strings, free } = readDynamic(program, dynamic);
  const changed = Buffer.from(program);
  changed.fill(0, where.offset, where.offset + where.size);
  paths.copy(changed, where.offset);
  // Counted from the string table, which the loader adds again in 64 bits: it may well lie behind.
  const value = BigInt.asUintN(64, where.address + BigInt(loader.length + 1) - strings);
  changed.writeBigUInt64LE(tags.rpath, free);
  changed.writeBigUInt64LE(value, free + 8);
  return { program: changed, loader: former };
}

function findSegment(program: Buffer, type: number): Segment | undefined {
  const first = Number(program.readBigUInt64LE(32));
  const size = program.readUInt16LE(54);
  const count = program.readUInt16LE(56);
  const headers = Array.from({ length: count }, (_, index) => first + index * size);
  const at = headers.find((header) => program.readUInt32LE(header) === type);
  if (at === undefined) return undefined;
  return {
    offset: Number(program.readBigUInt64LE(at + 8)),
    address: program.readBigUInt64LE(at + 16),
    size: Number(program.readBigUInt64LE(at + 32)),
  };
}

/** The address of the string table, and the offset of an entry that can be had: the list ends with an empty one. */
function readDynamic(program: Buffer, { offset, size }: Segment): { strings: bigint; free: number } {
  let strings: bigint | undefined;
  for (let at = offset; at + 2 * entryBytes <= offset + size; at += entryBytes) {
    const tag = program.readBigUInt64LE(at);
    if (tag === tags.strings) strings = program.readBigUInt64LE(at + 8);
    if (tag === tags.none && strings !== undefined) return { strings, free: at };
  }
  throw unfit('its dynamic section has no free entry');
}

function unfit(why: string): AtollError {
  return new AtollError('sandbox_failed', `This Node cannot be shown in other file systems: ${why}.`);
}
