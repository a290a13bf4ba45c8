/**
 * `npm run quickstart`: the product in half a minute. A real server, a real sandbox, the real Claude Agent SDK; every
 * step is a command that you could type. Without ANTHROPIC_API_KEY a stand-in answers in the model's place.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { styleText } from 'node:util';
import { startMessagesApi } from '../testing/stand-ins/messages-api.ts';

const root = join(import.meta.dirname, '..');
const atoll = join(root, 'packages/cli/src/main.mjs');
const STAND_IN_KEY = 'stand-in-key';
const PROMPT = 'write lagoon.md: An atoll is a ring of reef around a quiet lagoon.';

const color = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (format: Parameters<typeof styleText>[0], text: string) =>
  color ? styleText(format, text) : text;

// Ctrl-C reaches our children by itself; the steps then fail, and what was started is ended in order.
process.on('SIGINT', () => {});

const cleanups: (() => Promise<unknown>)[] = [];
try {
  await show();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  for (const cleanup of cleanups.reverse()) await cleanup();
}

async function show(): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'atoll-quickstart-'));
  cleanups.push(() => rm(dataDir, { recursive: true, force: true }));
  const model = await chooseModel();

  step('start');
  const url = await startServer(dataDir, model);
  console.log(`listening on ${url}`);
  const environment = { ATOLL_SERVER: url, ATOLL_DATA_DIR: dataDir };
  const run = (...words: string[]) => runAtoll(words, environment);

  await run('deploy', 'examples/01-hello', '--name', 'hello');
  const sessionId = await run('session', 'create', 'hello');
  await run('session', 'send', sessionId, PROMPT);
  await run('session', 'files', 'read', sessionId, 'lagoon.md');
  await run('session', 'end', sessionId);

  console.log(`
${paint('green', '✓')} That was a durable session in its own sandbox. Next, for real:

    export ANTHROPIC_API_KEY=…
    npx atoll start
    npx atoll deploy examples/01-hello --name hello       ${paint('dim', '(in a second terminal)')}
    npx atoll run hello "What can you do?"
`);
}

async function chooseModel(): Promise<Record<string, string>> {
  if (process.env.ANTHROPIC_API_KEY) {
    console.log('The model is the real one: ANTHROPIC_API_KEY is set.');
    return {};
  }
  const standIn = await startMessagesApi({ apiKey: STAND_IN_KEY, chunkDelayMs: 20 });
  cleanups.push(() => standIn.close());
  console.log('The model is a scripted stand-in on this machine: ANTHROPIC_API_KEY is not set.');
  return { ANTHROPIC_API_KEY: STAND_IN_KEY, ANTHROPIC_BASE_URL: standIn.url };
}

async function startServer(dataDir: string, model: Record<string, string>): Promise<string> {
  const words = ['start', '--port', '0', '--data-dir', dataDir, '--json', '--log-level', 'error'];
  const server = spawn(process.execPath, [atoll, ...words], {
    cwd: root,
    env: { ...process.env, ...model },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  cleanups.push(() => stop(server));
  let said = '';
  server.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  for await (const line of createInterface({ input: server.stdout })) {
    server.stderr.pipe(process.stderr);
    return (JSON.parse(line) as { url: string }).url;
  }
  const { error } = JSON.parse(said) as { error: { detail: string } };
  throw new Error(error.detail);
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  server.kill('SIGTERM');
  await once(server, 'exit');
}

/** Runs one command as a person would see it, and returns what it printed if that is an id. */
async function runAtoll(words: readonly string[], environment: Record<string, string>): Promise<string> {
  step(...words);
  const wanted = words[1] === 'create';
  const child = spawn(process.execPath, [atoll, ...words], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ['ignore', wanted ? 'pipe' : 'inherit', 'inherit'],
  });
  let printed = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    printed += chunk;
    process.stdout.write(chunk);
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`atoll ${words.join(' ')} ended with ${code}`);
  return printed.trim();
}

function step(...words: string[]): void {
  const shown = words.map((word) => (word.includes(' ') ? `"${word}"` : word)).join(' ');
  console.log(`\n${paint('dim', '$')} ${paint('bold', `atoll ${shown}`)}`);
}
