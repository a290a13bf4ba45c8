/** Tables in docs/ that are made from the code. Each stands between two comments, and `npm run docs` rewrites it. */
import { settings } from '@atoll/cli/settings';
import type { Operation } from '@atoll/protocol/operation';
import { operations } from '@atoll/protocol/operations';
import { placeParams } from '@atoll/protocol/rest';
import { executorRoutes, ownedFields } from '@atoll/runner/executor-routes';

export type Generated = { file: string; name: string; text: () => string };

export const generatedTables: readonly Generated[] = [
  { file: 'docs/configuration.md', name: 'settings', text: settingsTable },
  { file: 'docs/api.md', name: 'routes', text: routesTable },
  { file: 'docs/gateway.md', name: 'executor routes', text: executorRoutesTable },
];

/** The document with the named table replaced; throws when it has no place for it. */
export function withTable(document: string, name: string, text: string): string {
  const begin = `<!-- generated: ${name} (npm run docs) -->`;
  const end = `<!-- end: ${name} -->`;
  const from = document.indexOf(begin);
  const to = document.indexOf(end);
  if (from === -1 || to < from) throw new Error(`no "${begin}" … "${end}"`);
  return `${document.slice(0, from + begin.length)}\n\n${text}\n\n${document.slice(to)}`;
}

function settingsTable(): string {
  const rows = Object.entries(settings).map(([name, setting]) => [
    setting.flag === undefined
      ? 'none'
      : `\`--${setting.flag}${setting.value === undefined ? '' : ` ${setting.value}`}\``,
    `\`${setting.variable}\``,
    setting.inFile ? `\`${name}\`` : 'not in the file',
    setting.shownDefault,
    setting.summary,
  ]);
  return markdownTable(['flag', 'variable', 'in `atoll.config.json`', 'default', 'what'], rows);
}

function routesTable(): string {
  const rows = Object.entries(operations).map(([name, op]: [string, Operation]) => [
    `\`${op.rest.method} ${op.rest.path}\``,
    `\`${name}\``,
    op.bySession ? `${op.role}, session token` : op.role,
    paramsOf(op),
    answerOf(op),
    op.summary,
  ]);
  return markdownTable(['method, path', 'operation', 'key', 'params', 'answer', 'what'], rows);
}

function executorRoutesTable(): string {
  const owned = (name: string) => ownedFields.some((field) => field === name);
  const rows = Object.entries(executorRoutes).map(([path, op]: [string, Operation]) => {
    const { body, open } = placeParams(op);
    const said = ['session_id', ...body.filter((name) => !owned(name))].map(
      (name) => `\`${name}\`${op.params.entries[name]?.type === 'optional' ? '?' : ''}`,
    );
    const added = body.filter(owned).map((name) => `\`${name}\``);
    return [
      `\`${op.rest.method} ${path}\``,
      `${said.join(', ')}${open ? ', and any other' : ''}`,
      added.join(', ') || 'nothing',
      `\`${op.rest.method} ${op.rest.path}\``,
      answerOf(op),
    ];
  });
  return markdownTable(['route', 'the executor says', 'the runner adds', 'goes to', 'answer'], rows);
}

function paramsOf(op: Operation): string {
  const places = placeParams(op);
  const isOptional = (name: string) => op.params.entries[name]?.type === 'optional';
  const list = (names: readonly string[]) =>
    names.map((name) => `\`${name}\`${isOptional(name) ? '?' : ''}`).join(', ');
  const parts = [
    places.query.length > 0 ? `query: ${list(places.query)}` : '',
    bodyOf(op, list(places.body)),
    ...places.headers.map((name) => `header: \`${op.rest.headers?.[name]}\`?`),
  ];
  return parts.filter((part) => part !== '').join('; ') || 'none';
}

function bodyOf(op: Operation, named: string): string {
  if (op.rest.bytes === 'in') return 'body: bytes';
  if (placeParams(op).open) return named === '' ? 'body: any JSON object' : `body: ${named}, and any other`;
  return named === '' ? '' : `body: ${named}`;
}

function answerOf(op: Operation): string {
  const status = op.rest.status ?? 200;
  if (op.kind === 'text') return `${status} text`;
  if (op.rest.bytes === 'out') return `${status} bytes`;
  if (op.kind === 'stream') return `${status} SSE, or ${op.rest.jsonStatus ?? status} JSON`;
  return `${status} JSON`;
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}
