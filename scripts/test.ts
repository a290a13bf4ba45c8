/** `npm test`: every test file, or those named: `npm test -- packages/client`. */
import { spawn } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';

/** Tests start servers, sandboxes and the SDK's own process; two files at a time are what two cores carry. */
const CONCURRENCY = 2;
const everywhere = ['packages', 'testing', 'scripts', 'examples'];

const given = process.argv.slice(2);
const flags = given.filter((word) => word.startsWith('-'));
const places = given.filter((word) => !word.startsWith('-'));
const patterns = (places.length > 0 ? places : everywhere).map((place) =>
  existsSync(place) && statSync(place).isDirectory() ? `${place}/**/*.test.ts` : place,
);

const child = spawn('node', ['--test', `--test-concurrency=${CONCURRENCY}`, ...flags, ...patterns], {
  stdio: 'inherit',
});
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === null ? 1 : 130);
});
