/** The table of all rows: as text for a terminal, as Markdown, as JSON. */
import type { Row, Unit } from './row.ts';

const HEAD = ['measure', 'ours', 'floor', 'ours / floor', 'at least', 'aim', ''];

export function textTable(rows: readonly Row[]): string {
  const lines = [HEAD, ...rows.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const aligned = lines.map((line) => line.map((cell, i) => align(cell, i, widths[i] ?? 0)).join('  '));
  return aligned.map((line) => line.trimEnd()).join('\n');
}

export function markdownTable(rows: readonly Row[]): string {
  const rule = HEAD.map((_, column) => (isFigure(column) ? '---:' : '---'));
  return [HEAD, rule, ...rows.map(cells)].map((line) => `| ${line.join(' | ')} |`).join('\n');
}

export function jsonTable(rows: readonly Row[]): string {
  const plain = rows.map((each) => ({
    ...each,
    bar: each.bar?.text ?? null,
    aim: each.aim?.text ?? null,
    floor: each.floor ?? null,
    ratio: each.ratio ?? null,
    meets: verdict(each),
  }));
  return JSON.stringify(plain, null, 2);
}

function cells(each: Row): string[] {
  const { name, unit, ours, floor, ratio, bar, aim } = each;
  return [
    name,
    shown(ours, unit),
    floor === undefined ? '–' : shown(floor, unit),
    ratio === undefined ? '–' : `${ratio.toFixed(2)} ×`,
    bar?.text ?? '',
    aim?.text ?? '',
    verdict(each),
  ];
}

function verdict(each: Row): string {
  if (each.aim?.isMet(each)) return 'aim';
  if (!each.bar) return '';
  if (!each.bar.isMet(each)) return 'short';
  return 'met';
}

function shown(value: number, unit: Unit): string {
  if (unit === 'events/s') return `${Math.round(value / 1000)}k/s`;
  if (unit === '/s') return `${value.toFixed(1)}/s`;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

function align(cell: string, column: number, width: number): string {
  return isFigure(column) ? cell.padStart(width) : cell.padEnd(width);
}

function isFigure(column: number): boolean {
  return column >= 1 && column <= 3;
}
