/**
 * `npm test`: every test file, or those named: `npm test -- packages/client`. `npm run test:hard`: those that take
 * minutes, `*.hard.test.ts`. Either fails when the run leaves anything on the machine. What `*.agents.test.ts` run is
 * installed first; what `*.docker.test.ts` need is an engine of their own.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { NEEDS_DOCKER, startDockerEngine } from './docker-engine.ts';
import { installRealAgents, NEEDS_REAL_AGENTS } from './real-agents.ts';
import { openTestRun, type TestRun } from './test-run.ts';

/** Tests start servers, sandboxes and the SDK's own process; two files at a time are what two cores carry. */
const CONCURRENCY = 2;
/** What was killed by its parent's end may need a moment to be gone. */
const GONE_MS = 3_000;
/** No test takes as long on the slowest machine: one that waits for what never comes is named, and not waited for. */
const TEST_MS = 600_000;
const HARD = '.hard.test.ts';
const everywhere = ['packages', 'testing', 'scripts', 'examples'];

const given = process.argv.slice(2);
const hard = given.includes('--hard');
const flags = given.filter((word) => word.startsWith('-') && word !== '--hard');
const places = given.filter((word) => !word.startsWith('-'));
const files = (places.length > 0 ? places : everywhere).flatMap((place) =>
  existsSync(place) && statSync(place).isDirectory() ? testsBelow(place) : [place],
);

if (files.some((file) => file.endsWith(NEEDS_REAL_AGENTS))) installRealAgents();
const engine = files.some((file) => file.endsWith(NEEDS_DOCKER)) ? await startDockerEngine() : undefined;
const run = openTestRun();
// Hard tests measure, and kill at moments of their own choosing: one at a time.
const concurrency = `--test-concurrency=${hard ? 1 : CONCURRENCY}`;
const [program = '', ...rest] = run.command([
  'node',
  '--test',
  concurrency,
  `--test-timeout=${TEST_MS}`,
  ...flags,
  ...files,
]);
const child = spawn(program, rest, {
  stdio: 'inherit',
  env: { ...process.env, TMPDIR: run.directory, ...(engine && { DOCKER_HOST: engine.url }) },
});
const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
process.exitCode = code ?? (signal === null ? 1 : 130);

const left = await settled(run);
await engine?.stop();
if (left.length === 0) run.close();
else {
  console.error(`\nThe tests left on this machine:\n${left.map((line) => `  ${line}`).join('\n')}`);
  process.exitCode ||= 1;
}

function testsBelow(place: string): string[] {
  const found = globSync(`${place}/**/*.test.ts`, { exclude: ['**/node_modules/**'] });
  return found.filter((file) => file.endsWith(HARD) === hard).sort();
}

async function settled(run: TestRun): Promise<string[]> {
  const end = Date.now() + GONE_MS;
  for (;;) {
    const left = run.leftovers();
    if (left.length === 0 || Date.now() > end) return left;
    await delay(50);
  }
}
