/** `npm run check`: everything a tool can tell without running the code. All checks run, whatever one of them says. */
import { spawn } from 'node:child_process';

const colors = process.stdout.isTTY ? 'force' : 'off';
const checks = [
  {
    name: 'format, lint, import boundaries',
    command: ['biome', 'ci', `--colors=${colors}`, '--max-diagnostics=50', '--error-on-warnings', '.'],
  },
  { name: 'types', command: ['tsc'] },
  { name: 'docs', command: ['node', 'scripts/docs.ts', '--check'] },
];

const results = await Promise.all(checks.map(({ name, command }) => check(name, command)));
if (results.includes(false)) process.exitCode = 1;

async function check(name: string, command: readonly string[]): Promise<boolean> {
  const started = performance.now();
  const { code, output } = await run(command);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${code === 0 ? '✓' : '✗'} ${name} (${seconds} s)${code === 0 ? '' : `\n${output.trimEnd()}`}`);
  return code === 0;
}

function run([program = '', ...args]: readonly string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const take = (chunk: string) => {
      output += chunk;
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}
