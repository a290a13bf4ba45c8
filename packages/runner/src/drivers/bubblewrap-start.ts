import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync, readSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Duplex, PassThrough, Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { AtollError } from '@atoll/protocol/errors';
import type { SandboxLimits } from '../driver.ts';
import { type HandedListener, takeListener } from './handed-listener.ts';
import { quote } from './mount-view.ts';
import { fileSizeBlocks } from './watchdog.ts';

/** The descriptors the chain is started with. Only channel and, if asked for, `hand` are still open when the command runs. */
export const fds = { channel: 3, seccomp: 4, args: 5, status: 6, hand: 7 } as const;

export type StartChain = {
  child: ChildProcess;
  channel: Duplex;
  output: Readable;
  seccomp: Writable;
  args: Writable;
  status: BwrapStatus;
  /** What the command may hand over; undefined where this Node cannot take it. */
  handed: HandedListener | undefined;
};

export type ChainOptions = {
  command: readonly string[];
  limits: SandboxLimits;
  /** Whether `hand` stays open. */
  hands: boolean;
  joinScript: string;
  /** Root only: the mount namespace to enter and who to become in it. */
  become: { namespace: string; uid: number } | undefined;
};

/**
 * The shell a chain begins with, holding the descriptors of a sandbox and waiting for its script. To fork stops the
 * runner for as long as its memory is large, so the next sandbox's shell is made while nobody waits for it. It reads
 * the script from its stdin, and so ends with the runner.
 */
export type Launcher = Omit<StartChain, 'status'> & { script: Writable; statusFile: StatusFile };

/** What it needs for a moment is made in `directory`. */
export async function openLauncher(directory: string): Promise<Launcher> {
  const inherited = inheritedFds();
  const statusFile = openStatusFile(directory);
  // Only bash can name a descriptor above 9.
  const shell = inherited.some((fd) => fd > 9) ? '/bin/bash' : '/bin/sh';
  const child = spawn(shell, [], {
    cwd: '/',
    env: {},
    stdio: ['pipe', 'pipe', 'ignore', 'pipe', 'pipe', 'pipe', statusFile.fd, 'ipc'],
    // Ctrl-C in the runner's terminal is the runner's to answer.
    detached: true,
  });
  for (const over of ['exit', 'error']) child.once(over, statusFile.close);
  const handed = takeListener(child);
  // The typings know five descriptors.
  const stdio: readonly unknown[] = child.stdio;
  const [input, output, , channel, seccomp, args] = stdio;
  await once(child, 'spawn');
  if (!(output instanceof Readable && channel instanceof Duplex)) {
    throw new AtollError('sandbox_failed', 'The descriptors of a new sandbox could not be made.');
  }
  if (!(input instanceof Writable && seccomp instanceof Writable && args instanceof Writable)) {
    throw new AtollError('sandbox_failed', 'The descriptors of a new sandbox could not be made.');
  }
  // A chain that breaks early says so by its output; EPIPE here would only say it worse.
  for (const pipe of [input, seccomp, args]) pipe.on('error', () => {});
  input.write(tidyScript(inherited));
  // Node drains an unread stdout when the child ends; what bwrap said last must outlive that.
  const kept = output.pipe(new PassThrough());
  return { child, script: input, channel, output: kept, seccomp, args, statusFile, handed };
}

/** Sets a launcher going; bwrap then waits for its arguments until `args` is ended. Write them in one piece. */
export function startChain({ script, statusFile, ...chain }: Launcher, options: ChainOptions): StartChain {
  script.end(chainScript(options));
  return { ...chain, status: readStatus(statusFile, chain.child) };
}

export async function closeLauncher({ child }: Launcher): Promise<void> {
  if (!isAlive(child)) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

export function isAlive({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

/**
 * Descriptors the runner was itself started with by a careless parent: without close-on-exec they would be open
 * in every sandbox. Node opens its own with it, so what lacks it and is not one of ours is theirs.
 */
function inheritedFds(): number[] {
  return readdirSync('/proc/self/fdinfo')
    .map(Number)
    .filter((fd) => fd > 2 && (readFlags(fd) & closeOnExec) === 0);
}

const closeOnExec = 0o2000000;

function readFlags(fd: number): number {
  try {
    const text = readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1');
    return Number.parseInt(/^flags:\s+(\d+)/m.exec(text)?.[1] ?? '0', 8);
  } catch {
    return closeOnExec; // The one the listing itself was read by.
  }
}

function tidyScript(inherited: readonly number[]): string {
  const ours: readonly number[] = Object.values(fds);
  const closed = inherited.filter((fd) => !ours.includes(fd)).map((fd) => `exec ${fd}>&-\n`);
  return `exec 2>&1\n${closed.join('')}`;
}

function chainScript({ limits, hands, joinScript, become, command }: ChainOptions): string {
  const chain = bwrapCommand(become, command).map(quote).join(' ');
  return [
    joinScript,
    'ulimit -c 0',
    `ulimit -f ${fileSizeBlocks(limits)} 2>/dev/null`,
    `ulimit -n ${limits.openFiles} 2>/dev/null`,
    // Counted per uid: only of use when this sandbox has one of its own. dash calls it -p.
    become ? `ulimit -u ${limits.processes + 2} 2>/dev/null || ulimit -p ${limits.processes + 2}` : '',
    hands ? '' : `exec ${fds.hand}>&-`,
    // What a shell exports by itself would be pid 1's environment; bash sets some of it anew at exec.
    'unset PWD OLDPWD NODE_CHANNEL_FD NODE_CHANNEL_SERIALIZATION_MODE',
    `if [ -n "$BASH_VERSION" ]; then exec -c ${chain} </dev/null; fi`,
    `exec ${chain} </dev/null\n`,
  ].join('\n');
}

/** The command itself cannot come by `--args`; pid 1's argv inside shows it, and nothing else. */
function bwrapCommand(become: ChainOptions['become'], command: readonly string[]): string[] {
  const bwrap = ['bwrap', '--args', String(fds.args), '--', ...command];
  if (!become) return bwrap;
  const uid = String(become.uid);
  return ['nsenter', `--mount=${become.namespace}`, '--setgid', uid, '--setuid', uid, '--', ...bwrap];
}

export type BwrapStatus = {
  /** Host pid of the sandbox's pid 1; undefined when bwrap ended before making it. */
  innerPid: Promise<number | undefined>;
  /** After bwrap's end: whether the command was executed at all. */
  ran: Promise<boolean>;
};

/**
 * bwrap's `--json-status-fd`: `{"child-pid": N, …}`, and `{"exit-code": N}` only if the command was executed. A file, and no
 * pipe: bwrap that is told nobody listens, since its runner was killed, ends and leaves its pid 1 waiting for it for ever.
 */
type StatusFile = { fd: number; read(): string; close(): void };

const MAX_STATUS_BYTES = 4096;
const LOOK_MS = 2;

function openStatusFile(directory: string): StatusFile {
  const path = join(directory, `status-${crypto.randomUUID()}`);
  const fd = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  const bytes = Buffer.alloc(MAX_STATUS_BYTES);
  let open = true;
  let text = '';
  const read = () => {
    if (open) text = bytes.toString('latin1', 0, readSync(fd, bytes, 0, bytes.length, 0));
    return text;
  };
  return {
    fd,
    read,
    close() {
      read();
      if (open) closeSync(fd);
      open = false;
    },
  };
}

function readStatus(file: StatusFile, child: ChildProcess): BwrapStatus {
  async function innerPid(): Promise<number | undefined> {
    for (;;) {
      const over = !isAlive(child);
      const pid = /"child-pid":\s*(\d+)/.exec(file.read())?.[1];
      if (pid !== undefined) return Number(pid);
      if (over) return undefined;
      await delay(LOOK_MS);
    }
  }

  async function ran(): Promise<boolean> {
    if (isAlive(child)) await once(child, 'exit');
    return file.read().includes('"exit-code"');
  }

  return { innerPid: innerPid(), ran: ran() };
}

/** The error of a chain that never got as far as a sandbox, with what it printed. */
export async function chainError({ child, output }: StartChain): Promise<AtollError> {
  let said = '';
  output.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < 4000) said += text;
  });
  if (!output.readableEnded) await once(output, 'end');
  if (isAlive(child)) await once(child, 'exit');
  const detail = said.trim() || `it ended with ${child.signalCode ?? `exit code ${child.exitCode}`}`;
  return new AtollError('sandbox_failed', `The sandbox could not be started: ${detail}`);
}
