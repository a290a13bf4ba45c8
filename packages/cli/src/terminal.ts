/** What commands write to: text for people, or JSON for programs, never both. */
import { wantsColor } from './config.ts';

export type Style = Record<'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan', (text: string) => string>;

export type Terminal = {
  /** Whether stdout is a person's terminal. */
  readonly interactive: boolean;
  readonly json: boolean;
  /** For stdout. */
  readonly style: Style;
  /** For stderr, which may be a terminal when stdout is none. */
  readonly errorStyle: Style;
  readonly columns: number;
  /** Text to stdout as it is. */
  write(text: string | Uint8Array): void;
  /** A line to stdout. */
  line(text?: string): void;
  /** One JSON value as one line. */
  value(value: unknown): void;
  /** A line to stderr: progress, hints, errors. */
  note(text: string): void;
};

export function createTerminal(options: {
  json: boolean;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
}): Terminal {
  const { stdout, stderr, json } = options;
  const interactive = stdout.isTTY === true;
  return {
    interactive,
    json,
    style: createStyle(interactive && wantsColor()),
    errorStyle: createStyle(stderr.isTTY === true && wantsColor()),
    columns: stdout.columns ?? 100,
    write: (text) => stdout.write(text),
    line: (text = '') => stdout.write(`${text}\n`),
    value: (value) => stdout.write(`${JSON.stringify(value)}\n`),
    note: (text) => stderr.write(`${text}\n`),
  };
}

export function createStyle(color: boolean): Style {
  const paint = (open: number, close: number) => (text: string) =>
    color ? `\x1b[${open}m${text}\x1b[${close}m` : text;
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    red: paint(31, 39),
    green: paint(32, 39),
    yellow: paint(33, 39),
    cyan: paint(36, 39),
  };
}

/**
 * Text from an agent, safe to print: whatever a terminal would act on (escape sequences, other controls, and the
 * characters that turn reading direction) is made visible. Tabs and line feeds stay.
 */
export function harmless(text: string): string {
  return text.replace(/\r\n/g, '\n').replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (char) => {
    if (char === '\n' || char === '\t') return char;
    // The pictures of the C0 controls stand in their order; the others have none.
    return char < ' ' ? String.fromCodePoint(0x2400 + char.charCodeAt(0)) : '\ufffd';
  });
}

/** Rows in aligned columns; the last column is never padded. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  '),
  );
}

/** One line, at most `length` characters. */
export function oneLine(text: string, length: number): string {
  const flat = harmless(text).replace(/\s+/g, ' ').trim();
  return flat.length > length ? `${flat.slice(0, length - 1)}…` : flat;
}
