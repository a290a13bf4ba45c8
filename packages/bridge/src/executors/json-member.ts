/**
 * A member's value in the text of a JSON object, as it stands there: for what is passed on unchanged (I3), out of an
 * envelope that is not ours to predict.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;

/** `json` must have been parsed before. Of a name that stands there twice the last counts, as for JSON.parse. */
export function memberText(json: string, name: string): string | undefined {
  let depth = 0;
  let key = '';
  let from = 0;
  let found: string | undefined;
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) {
      const end = endOfString(json, at);
      if (depth === 1) key = from === 0 ? json.slice(at, end) : key;
      at = end - 1;
    } else if (isOpen(code)) depth++;
    else if (depth === 1 && code === COLON) from = at + 1;
    else if ((depth === 1 && code === COMMA) || isClose(code)) {
      if (depth === 1 && from > 0 && JSON.parse(key) === name) found = json.slice(from, at).trim();
      if (depth === 1) from = 0;
      if (isClose(code)) depth--;
    }
  }
  return found;
}

/** The place after the quote that ends the string which begins at `start`. */
function endOfString(json: string, start: number): number {
  for (let at = json.indexOf('"', start + 1); at !== -1; at = json.indexOf('"', at + 1)) {
    let escapes = 0;
    while (json.charCodeAt(at - 1 - escapes) === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return at + 1;
  }
  return json.length;
}

/** `{` or `[`: they and their ends differ from each other in one bit. */
function isOpen(code: number): boolean {
  return (code | 0x20) === 0x7b;
}

function isClose(code: number): boolean {
  return (code | 0x20) === 0x7d;
}
