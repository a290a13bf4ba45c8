/** Of a text that comes in pieces and may be of any length, what one answer has room for. */
export const MAX_TEXT_CHARS = 16 * 1024;

export type TextPiece = {
  text: string;
  /** Where in the whole text it begins, when it is not all of it. */
  textOffset?: number;
  /** Characters of the whole text, when it is not all of it. */
  textLength?: number;
};

export type Text = { add(more: string): void; piece(): TextPiece };

/** From `offset` on; without it, the end. */
export function createText(offset: number | undefined): Text {
  let held = '';
  let from = offset ?? 0;
  let length = 0;

  return {
    add(more) {
      const start = length;
      length += more.length;
      if (offset === undefined) {
        held += more;
        if (held.length > 2 * MAX_TEXT_CHARS) held = held.slice(-MAX_TEXT_CHARS);
      } else if (held.length < MAX_TEXT_CHARS && length > offset)
        held += more.slice(Math.max(0, offset - start));
    },
    piece() {
      const text = offset === undefined ? held.slice(-MAX_TEXT_CHARS) : held.slice(0, MAX_TEXT_CHARS);
      if (offset === undefined) from = length - text.length;
      const whole = text.length === length;
      return whole ? { text } : { text: text.toWellFormed(), textOffset: from, textLength: length };
    },
  };
}
