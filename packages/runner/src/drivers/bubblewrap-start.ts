import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Duplex, PassThrough, Readable, Writable } from 'node:stream';
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
export type Launcher = StartChain & { script: Writable };

export async function openLauncher(): Promise<Launcher> {
  const inherited = inheritedFds();
  // Only bash can name a descriptor above 9.
  const shell = inherited.some((fd) => fd > 9) ? '/bin/bash' : '/bin/sh';
  const child = spawn(shell, [], {
    cwd: '/',
    env: {},
    stdio: ['pipe', 'pipe', 'ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'ipc'],
    // Ctrl-C in the runner's terminal is the runner's to answer.
    detached: true,
  });
  const handed = takeListener(child);
  // The typings know five descriptors.
  const stdio: readonly unknown[] = child.stdio;
  const [input, output, , channel, seccomp, args, status] = stdio;
  await once(child, 'spawn');
  if (!(output instanceof Readable && channel instanceof Duplex && status instanceof Readable)) {
    throw new AtollError('sandbox_failed', 'The descriptors of a new sandbox could not be made.');
  }
  if (!(input instanceof Writable && seccomp instanceof Writable && args instanceof Writable)) {
    throw new AtollError('sandbox_failed', 'The descriptors of a new sandbox could not be made.');
  }
  // A chain that breaks early says so by its status and output; EPIPE here would only say it worse.
  for (const pipe of [input, seccomp, args, status]) pipe.on('error', () => {});
  input.write(tidyScript(inherited));
  // Node drains an unread stdout when the child ends; what bwrap said last must outlive that.
  const kept = output.pipe(new PassThrough());
  return { child, script: input, channel, output: kept, seccomp, args, status: readStatus(status), handed };
}

/** Sets a launcher going; bwrap then waits for its arguments until `args` is ended. Write them in one piece. */
export function startChain({ script, ...chain }: Launcher, options: ChainOptions): StartChain {
  script.end(chainScript(options));
  return chain;
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

/** bwrap's `--json-status-fd`: `{"child-pid": N, …}`, and `{"exit-code": N}` only if the command was executed. */
function readStatus(stream: Readable): BwrapStatus {
  let text = '';
  const innerPid = Promise.withResolvers<number | undefined>();
  const ran = Promise.withResolvers<boolean>();
  stream.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
    const pid = /"child-pid":\s*(\d+)/.exec(text)?.[1];
    if (pid) innerPid.resolve(Number(pid));
  });
  stream.once('close', () => {
    innerPid.resolve(undefined);
    ran.resolve(text.includes('"exit-code"'));
  });
  return { innerPid: innerPid.promise, ran: ran.promise };
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
