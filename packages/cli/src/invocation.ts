import type { Client } from '@atoll/client';
import type { Config } from './settings.ts';
import type { Terminal } from './terminal.ts';

/** What a command is run with: its own arguments and flags, the settings, and where to write. */
export type Invocation = {
  /** A declared argument by name; '' never stands for a missing one. */
  arg(name: string): string;
  optionalArg(name: string): string | undefined;
  /** The words after `--`, or after the declared arguments where the last one repeats. */
  readonly rest: readonly string[];
  readonly options: Readonly<Record<string, string | undefined>>;
  readonly lists: Readonly<Record<string, readonly string[] | undefined>>;
  readonly switches: Readonly<Record<string, boolean | undefined>>;
  readonly config: Config;
  readonly terminal: Terminal;
  /** Aborts at the first Ctrl-C or SIGTERM; a second one ends the process at once. */
  readonly signal: AbortSignal;
  /** Resolves when it aborts. */
  stopped(): Promise<void>;
  /** The client for the server named by the settings; made when first asked for. */
  client(): Promise<Client>;
};

export type CommandModule = { run(invocation: Invocation): Promise<void> };
