/**
 * Chunks of a log with runs of its events taken out: one event `compacted {from, to}` with the seq `to` stands for each run
 * (I2). A run goes on over the end of a chunk, since an idle log has a chunk for each event; so chunks are cut anew, each
 * of one commit's time, as before. A run has the time of its last event: nothing that is later moves before a moment.
 *
 * A run ends where a fork begins, so that a fork shares all of it or nothing.
 */
import { concatBytes } from '@atoll/protocol/lines';
import { asBuffer, eventAt, type FramedEvent, frameEvent } from './frames.ts';
import type { LogChunk } from './log.ts';

export type Chunk = LogChunk & { epoch: number };

export type Taking = {
  /** Runs lie within after + 1 to upTo. */
  after: number;
  upTo: number;
  /** The last seqs that forks share. */
  breaks: readonly number[];
  takes: (event: FramedEvent) => boolean;
};

/** Events that stay as they are, one by one, or a run. */
type Piece = Chunk & { run: boolean };

/** `chunks` follow each other without a gap. Also what it compacted before is put together with what comes after it. */
export function compactChunks(chunks: readonly Chunk[], taking: Taking): { chunks: Chunk[]; events: number } {
  const pieces: Piece[] = [];
  let events = 0;
  for (const chunk of chunks) {
    for (const piece of piecesOf(chunk, taking)) {
      const before = pieces.at(-1);
      const goesOn = before?.run && piece.run && !taking.breaks.includes(before.lastSeq);
      if (goesOn) pieces[pieces.length - 1] = { ...piece, firstSeq: before.firstSeq };
      else pieces.push(piece);
      if (piece.run && piece.frames.length > 0) events++;
    }
  }
  return { chunks: joined(pieces), events };
}

/** The frames of a run that was compacted before are empty: it is written anew. */
function* piecesOf({ frames, ...chunk }: Chunk, { after, upTo, takes }: Taking): Generator<Piece> {
  const bytes = asBuffer(frames);
  let firstSeq = chunk.firstSeq;
  for (let start = 0; start < bytes.length; ) {
    const { end, ...event } = eventAt(bytes, start);
    const again = event.event === 'compacted';
    const run = firstSeq > after && event.seq <= upTo && (again || takes(event));
    const own = run && again ? bytes.subarray(0, 0) : bytes.subarray(start, end);
    yield { ...chunk, firstSeq, lastSeq: event.seq, frames: own, run };
    firstSeq = event.seq + 1;
    start = end;
  }
}

/** Chunks of pieces of one commit. A run at the very end is one of its own: what comes next may go on with it. */
function joined(pieces: readonly Piece[]): Chunk[] {
  const chunks: Chunk[] = [];
  let open: Piece[] = [];
  const close = () => {
    const [first] = open;
    const last = open.at(-1);
    if (!first || !last) return;
    const { time, epoch, lastSeq } = last;
    chunks.push({ firstSeq: first.firstSeq, lastSeq, time, epoch, frames: concatBytes(open.map(framesOf)) });
    open = [];
  };
  for (const [at, piece] of pieces.entries()) {
    const [first] = open;
    const another = first && (first.time !== piece.time || first.epoch !== piece.epoch);
    if (another || (piece.run && at === pieces.length - 1)) close();
    open.push(piece);
  }
  close();
  return chunks;
}

function framesOf({ run, firstSeq, lastSeq, frames }: Piece): Uint8Array {
  if (!run) return frames;
  const data = JSON.stringify({ from: firstSeq, to: lastSeq });
  return frameEvent({ seq: lastSeq, event: 'compacted', data });
}
