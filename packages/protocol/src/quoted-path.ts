/**
 * A path as git writes it in a diff: as it is, or quoted with escapes where it holds a control character, a quote, a
 * backslash or what is not ASCII. One character of it is one byte.
 */
export function quotedPath(bytes: string): string {
  const quoted = bytes.replace(/[^\x20-\x7e]|["\\]/g, escaped);
  return quoted === bytes ? bytes : `"${quoted}"`;
}

const named: Readonly<Record<string, string>> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\t': '\\t',
  '\n': '\\n',
  '\v': '\\v',
  '\f': '\\f',
  '\r': '\\r',
  '"': '\\"',
  '\\': '\\\\',
};

function escaped(byte: string): string {
  return named[byte] ?? `\\${byte.charCodeAt(0).toString(8).padStart(3, '0')}`;
}
