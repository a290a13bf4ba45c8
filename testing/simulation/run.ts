/**
 * The simulation by hand:
 *
 *   node testing/simulation/run.ts --seed 7              one seed, judged
 *   node testing/simulation/run.ts --seed 7 --trace      and all that happened in it, with what the product logged
 *   node testing/simulation/run.ts --from 1 --count 1000 many, in two processes
 */
import { parseArgs } from 'node:util';
import { audit } from './auditor.ts';
import { described, judgeMany } from './many.ts';
import { simulate } from './simulate.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    from: { type: 'string', default: '1' },
    count: { type: 'string', default: '1000' },
    processes: { type: 'string', default: '2' },
  },
});

if (values.seed === undefined) await many();
else await one(Number(values.seed), values.trace);

async function many(): Promise<void> {
  const began = performance.now();
  const [from, count] = [Number(values.from), Number(values.count)];
  const failures = await judgeMany({ from, count }, Number(values.processes));
  for (const failure of failures) console.log(described(failure));
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`${failures.length} of ${count} seeds from ${from} failed, in ${seconds} s`);
  if (failures.length > 0) process.exitCode = 1;
}

async function one(seed: number, shown: boolean): Promise<void> {
  const told: { at: number; line: string }[] = [];
  const note = (at: number, line: string) => void told.push({ at, line });
  const run = await simulate({
    seed,
    ...(shown && {
      log: (node, at, level, fields, text) =>
        level === 'debug' ? undefined : note(at, `${node} ${level}: ${text} ${reasonIn(fields)}`),
    }),
  });
  if (shown) {
    for (const { at, ...happening } of run.trace) note(at, JSON.stringify(happening));
    for (const { at, line } of told.sort((a, b) => a.at - b.at)) console.log(`${at.toFixed(1)} ${line}`);
  }
  const findings = audit(run.trace);
  for (const { rule, at, what } of findings) console.log(`${at.toFixed(1)} ${rule.toUpperCase()}: ${what}`);
  for (const error of run.escaped) console.log('nobody caught:', error);
  console.log(`seed ${seed}: ${run.steps} steps, ${run.trace.length} entries, hash ${run.hash}`);
  if (findings.length > 0 || run.escaped.length > 0) process.exitCode = 1;
}

function reasonIn({ err, ...fields }: Record<string, unknown>): string {
  return `${JSON.stringify(fields)} ${err === undefined ? '' : String(err)}`;
}
