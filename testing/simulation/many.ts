/** Many seeds, judged, in as many processes as there are to be. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { audit, type Finding } from './auditor.ts';
import { simulate } from './simulate.ts';

export type Failure = { seed: number; findings: readonly Finding[]; escaped: readonly string[] };

export type Seeds = { from: number; count: number };

/** One after the other, in this process. */
export async function judge({ from, count }: Seeds): Promise<Failure[]> {
  const failures: Failure[] = [];
  for (let seed = from; seed < from + count; seed++) {
    const { trace, escaped } = await simulate({ seed });
    const findings = audit(trace);
    if (findings.length > 0 || escaped.length > 0)
      failures.push({ seed, findings, escaped: escaped.map(String) });
  }
  return failures;
}

/** As many seeds at a time as are handed to a process, so that one of them is not done long before the others. */
const AT_A_TIME = 100;

export async function judgeMany({ from, count }: Seeds, processes: number): Promise<Failure[]> {
  const failures: Failure[] = [];
  let next = from;
  await Promise.all(Array.from({ length: processes }, work));
  return failures.sort((a, b) => a.seed - b.seed);

  async function work(): Promise<void> {
    // The young are many here: a larger nursery is looked through less often.
    const child = fork(join(import.meta.dirname, 'judge.child.ts'), {
      execArgv: ['--max-semi-space-size=64'],
    });
    const gone = once(child, 'exit').then(([code]) => {
      throw new Error(`a process that simulates ended with ${code}`);
    });
    gone.catch(() => undefined); // whoever waits for an answer hears of it
    try {
      while (next < from + count) {
        const seeds = { from: next, count: Math.min(AT_A_TIME, from + count - next) };
        next += seeds.count;
        child.send(seeds);
        const [answer] = (await Promise.race([once(child, 'message'), gone])) as [Failure[]];
        failures.push(...answer);
      }
    } finally {
      child.kill();
    }
  }
}

/** For people: what was found, and how to see it again. */
export function described({ seed, findings, escaped }: Failure): string {
  const found = findings.slice(0, 5).map(({ rule, at, what }) => `  ${Math.round(at)} ms, ${rule}: ${what}`);
  const threw = escaped.map((text) => `  nobody caught: ${text}`);
  const again = `  see it: node testing/simulation/run.ts --seed ${seed} --trace`;
  return [`seed ${seed}:`, ...found, ...threw, again].join('\n');
}
