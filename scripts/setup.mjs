/**
 * node scripts/setup.mjs -- <command…>
 *
 * Makes a fresh clone able to run `command`, then runs it: dependencies (`npm ci`) and, on Linux, bubblewrap. Plain
 * JavaScript without dependencies, since it runs before there are any, on whatever Node the machine has. It spawns
 * the command itself: a shell line would go on with the `node` that it found before Node 24 was installed.
 */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const OLDEST_NODE = 20;
const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** How each distribution's package manager installs bubblewrap. */
const packageManagers = [
  {
    program: 'apt-get',
    steps: [
      ['apt-get', 'update'],
      ['apt-get', 'install', '-y', 'bubblewrap'],
    ],
  },
  { program: 'dnf', steps: [['dnf', 'install', '-y', 'bubblewrap']] },
  { program: 'pacman', steps: [['pacman', '-Sy', '--noconfirm', 'bubblewrap']] },
  { program: 'apk', steps: [['apk', 'add', 'bubblewrap']] },
  { program: 'zypper', steps: [['zypper', '--non-interactive', 'install', 'bubblewrap']] },
];

const command = process.argv.slice(process.argv.indexOf('--') + 1);
if (!process.argv.includes('--') || command.length === 0)
  fail('usage: node scripts/setup.mjs -- <command…>', 2);

checkNode();
if (!dependenciesInstalled()) await installDependencies();
if (process.platform === 'linux' && findProgram('bwrap') === undefined) installBubblewrap();
await runAndExit(command);

function checkNode() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < OLDEST_NODE)
    fail(`Node ${OLDEST_NODE} or newer is needed; this is ${process.version}. See https://nodejs.org`);
}

/** Whether node_modules holds what package-lock.json says. npm writes the list of what it installed when it is done. */
function dependenciesInstalled() {
  const wanted = readPackages(join(root, 'package-lock.json'));
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'));
  if (wanted === undefined) fail('package-lock.json is missing or broken');
  if (installed === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.startsWith('node_modules/')) return true;
    const present = installed[path];
    return present === undefined
      ? entry.optional === true || entry.peer === true
      : present.version === entry.version;
  });
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    // Missing or cut short: not installed, which is what the caller finds out.
    return undefined;
  }
}

async function installDependencies() {
  say('Installing dependencies (npm ci). The first time takes about a minute and 800 MB of disk.');
  const started = Date.now();
  // npm draws its own progress on a terminal; a log gets a line now and then.
  const ticker = process.stderr.isTTY
    ? undefined
    : setInterval(() => say(`  still installing, ${Math.round((Date.now() - started) / 1000)} s`), 15_000);
  const code = await run(['npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error'], process.env);
  clearInterval(ticker);
  if (code !== 0) fail('npm ci failed; what it said stands above.');
  say(`Dependencies installed in ${Math.round((Date.now() - started) / 1000)} s.`);
}

function installBubblewrap() {
  const manager = packageManagers.find(({ program }) => findProgram(program) !== undefined);
  if (manager === undefined)
    fail('bubblewrap (bwrap) is needed for sandboxes. Install it with your system’s package manager.');
  const prefix = process.getuid() === 0 ? [] : ['sudo', '-n'];
  if (prefix.length > 0 && spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status !== 0) {
    const typed = manager.steps.map((step) => `sudo ${step.join(' ')}`).join(' && ');
    fail(`bubblewrap (bwrap) is needed for sandboxes. Install it with:\n\n  ${typed}\n`);
  }
  for (const step of manager.steps) {
    const line = [...prefix, ...step];
    say(`Installing bubblewrap: ${line.join(' ')}`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const result = spawnSync(line[0], line.slice(1), { env, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
    // A failing `apt-get update` (one dead mirror) does not mean that the package cannot be had.
    if (result.status !== 0 && step === manager.steps.at(-1))
      fail(`${result.stdout ?? ''}${result.stderr ?? ''}\nbubblewrap could not be installed.`);
  }
}

function findProgram(name) {
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return join(directory, name);
    } catch {
      // Not in this directory.
    }
  }
  return undefined;
}

async function runAndExit(line) {
  const path = `${join(root, 'node_modules', '.bin')}${delimiter}${process.env.PATH ?? ''}`;
  process.exit(await run(line, { ...process.env, PATH: path }));
}

/** Runs in the repository's root with our terminal; resolves with an exit code as a shell would give it. */
function run(line, env) {
  return new Promise((resolve) => {
    const child = spawn(line[0], line.slice(1), { cwd: root, stdio: 'inherit', env });
    // A terminal signals the whole group; what is sent to us alone has to be passed on.
    const pass = (signal) => child.kill(signal);
    process.on('SIGTERM', pass);
    process.on('SIGHUP', pass);
    process.on('SIGINT', () => {});
    child.on('error', (error) => {
      process.stderr.write(`cannot run ${line[0]}: ${error.message}\n`);
      resolve(127);
    });
    child.on('exit', (code, signal) => resolve(code ?? 128 + osConstants.signals[signal]));
  });
}

function say(text) {
  process.stderr.write(`${text}\n`);
}

function fail(text, code = 1) {
  say(text);
  process.exit(code);
}
