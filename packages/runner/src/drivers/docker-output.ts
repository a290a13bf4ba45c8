import { Transform } from 'node:stream';

/** What an engine sends of a container without a terminal: frames of eight bytes' header and a piece of stdout or stderr. */
export function createFrameReader(): Transform {
  let rest: Buffer = Buffer.alloc(0);
  /** Bytes of the frame that is being read which are still to come. */
  let open = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (;;) {
        if (open === 0 && rest.length < headerBytes) break;
        if (open === 0) {
          open = rest.readUInt32BE(4);
          rest = rest.subarray(headerBytes);
        }
        const piece = rest.subarray(0, open);
        if (piece.length > 0) this.push(piece);
        open -= piece.length;
        rest = rest.subarray(piece.length);
        if (open > 0) break;
      }
      done();
    },
  });
}

const headerBytes = 8;
