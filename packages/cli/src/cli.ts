/** Parses, prepares what a command needs, runs it, and turns how it ended into an exit code. */
import type { Client } from '@atoll/client';
import { processSources, readConfig } from './config.ts';
import {
  describeFailure,
  exitCodes,
  Failed,
  type Failure,
  Interrupted,
  sentenceOf,
  UsageError,
} from './failure.ts';
import type { Invocation } from './invocation.ts';
import { commandNamed, type Parsed, parseCommandLine } from './parse.ts';
import { createTerminal, type Terminal } from './terminal.ts';

const words = process.argv.slice(2);
let opened: Terminal | undefined;

try {
  await perform(parseCommandLine(words));
} catch (error) {
  process.exitCode = report(error);
}

async function perform(parsed: Parsed): Promise<void> {
  if (parsed.kind === 'version') {
    const { version } = await import('./version.ts');
    return parsed.json ? terminal().value({ version }) : terminal().line(`atoll ${version}`);
  }
  if (parsed.kind === 'help') {
    const { helpText } = await import('./help.ts');
    return terminal().write(helpText(parsed.name));
  }
  const signal = interruptSignal();
  const invocation = prepare(parsed, signal);
  const module = await parsed.command.load();
  await module.run(invocation);
  if (signal.aborted && parsed.command.untilStopped !== true) throw new Interrupted();
}

function prepare(parsed: Parsed & { kind: 'command' }, signal: AbortSignal): Invocation {
  const config = readConfig(processSources(parsed.settings));
  let client: Promise<Client> | undefined;
  return {
    arg(name) {
      const value = parsed.args[name];
      if (value === undefined || value === '') throw new UsageError(`${name} is missing`);
      return value;
    },
    optionalArg: (name) => parsed.args[name],
    rest: parsed.rest,
    options: parsed.options,
    lists: parsed.lists,
    switches: parsed.switches,
    config,
    get terminal() {
      return terminal();
    },
    signal,
    stopped: () => aborted(signal),
    client() {
      client ??= import('./connect.ts').then(({ connect }) => connect(config));
      return client;
    },
  };
}

/** Opened when something is written: the streams take 3 ms, and a server that starts has work for its threads first. */
function terminal(): Terminal {
  opened ??= openTerminal();
  return opened;
}

function openTerminal(): Terminal {
  const { stdout, stderr } = process;
  // A reader that went away (`atoll … | head`) is no failure.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? exitCodes.done : exitCodes.failed);
  });
  const own = words.slice(0, words.includes('--') ? words.indexOf('--') : words.length);
  return createTerminal({ json: own.includes('--json'), stdout, stderr });
}

/** The first signal asks, the second one insists. */
function interruptSignal(): AbortSignal {
  const abort = new AbortController();
  const onSignal = () => {
    if (abort.signal.aborted) process.exit(exitCodes.interrupted);
    abort.abort(new Interrupted());
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return abort.signal;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function report(error: unknown): number {
  const failure = describeFailure(error, commandNamed(words));
  const said = error instanceof Failed || error instanceof Interrupted;
  if (!said) reportTo(terminal(), failure);
  return failure.exitCode;
}

function reportTo({ json, note, errorStyle }: Terminal, failure: Failure): void {
  if (json) return note(JSON.stringify({ error: { code: failure.code, detail: failure.detail } }));
  note(failure.code === 'bug' ? failure.detail : errorStyle.red(sentenceOf(failure)));
  if (failure.hint !== undefined) note(failure.hint);
}
