/**
 * npm run bench: every promise about speed and memory, measured beside its floor (docs/benchmarks.md tells the method).
 *
 *   --quick       3 pairs instead of 7, for development
 *   --pairs N     as many pairs
 *   --only NAME   that measure alone; may be given more than once
 *   --json        the rows as JSON; --markdown  the table for docs/benchmarks.md; --check  exit 1 below a bar
 */
import { parseArgs } from 'node:util';
import { claim } from './claim.ts';
import { claudeFirstEvent } from './claude-first-event.ts';
import { coldCreates } from './cold-creates.ts';
import { create } from './create.ts';
import { egress } from './egress.ts';
import { fleet } from './fleet.ts';
import { gateway } from './gateway.ts';
import { health } from './health.ts';
import { links } from './links.ts';
import { memory } from './memory.ts';
import { oneMessage } from './one-message.ts';
import { past } from './past.ts';
import type { Measure, Row } from './row.ts';
import { slowReader } from './slow-reader.ts';
import { snapshots } from './snapshots.ts';
import { start } from './start.ts';
import { jsonTable, markdownTable, textTable } from './table.ts';
import { throughput } from './throughput.ts';
import { worker } from './worker.ts';

const measures: readonly Measure[] = [
  throughput,
  oneMessage,
  create,
  coldCreates,
  claim,
  claudeFirstEvent,
  start,
  health,
  memory,
  slowReader,
  gateway,
  egress,
  past,
  snapshots,
  worker,
  links,
  fleet,
];

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    pairs: { type: 'string' },
    only: { type: 'string', multiple: true },
    json: { type: 'boolean', default: false },
    markdown: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
  },
});

const rows = await takeAll(chosen());
console.log(tableOf(rows));
if (values.check && rows.some((row) => row.bar !== undefined && !row.bar.isMet(row))) process.exitCode = 1;

function chosen(): readonly Measure[] {
  const { only } = values;
  const unknown = only?.find((name) => !measures.some((measure) => measure.name === name));
  if (unknown !== undefined) {
    console.error(
      `There is no measure ${unknown}; there are ${measures.map(({ name }) => name).join(', ')}.`,
    );
    process.exit(2);
  }
  return only === undefined ? measures : measures.filter(({ name }) => only.includes(name));
}

async function takeAll(wanted: readonly Measure[]): Promise<Row[]> {
  const { quick } = values;
  const pairs = Number(values.pairs ?? (quick ? 3 : 7));
  const all: Row[] = [];
  for (const { name, what, take } of wanted) {
    console.error(`${name}: ${what}`);
    all.push(...(await take({ pairs, quick })));
  }
  return all;
}

function tableOf(all: readonly Row[]): string {
  if (values.json) return jsonTable(all);
  return values.markdown ? markdownTable(all) : textTable(all);
}
