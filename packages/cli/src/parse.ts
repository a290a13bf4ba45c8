/** From the words of a command line to a command and its values. Knows the table, runs nothing. */
import { type Command, commands } from './commands.ts';
import { UsageError } from './failure.ts';
import { type Setting, type SettingName, settings } from './settings.ts';

export type Parsed =
  | { kind: 'version'; json: boolean }
  /** `name` is a command, the first words of some, or '' for all. */
  | { kind: 'help'; name: string }
  | {
      kind: 'command';
      name: string;
      command: Command;
      args: Record<string, string>;
      rest: string[];
      options: Record<string, string>;
      /** Of flags that may be given many times. */
      lists: Record<string, string[]>;
      switches: Record<string, boolean>;
      settings: Partial<Record<SettingName, string>>;
      json: boolean;
    };

export function parseCommandLine(words: readonly string[]): Parsed {
  const { name, group, left } = findCommand(words);
  if (asksForHelp(left)) return { kind: 'help', name: name ?? group };
  if (name === undefined) return withoutCommand(group, left);
  const command = commands[name];
  if (command === undefined) throw new UsageError(`there is no command "${name}"`);
  const { values, positionals } = parseFlags(command, left);
  const { args, rest } = nameArguments(command, positionals);
  return { kind: 'command', name, command, args, rest, ...sortFlags(command, values) };
}

/** The command, or the group of commands, that the words begin with; '' for neither. */
export function commandNamed(words: readonly string[]): string {
  const { name, group } = findCommand(words);
  return name ?? group;
}

/** The longest run of leading words that names a command, or that begins the names of several. */
function findCommand(typed: readonly string[]): { name: string | undefined; group: string; left: string[] } {
  // As the route and the other lists of things are called.
  const words = typed[0] === 'credentials' ? ['credential', ...typed.slice(1)] : typed;
  for (let count = 3; count > 0; count--) {
    const name = words.slice(0, count).join(' ');
    if (Object.hasOwn(commands, name)) return { name, group: name, left: words.slice(count) };
  }
  for (let count = 2; count > 0; count--) {
    const group = words.slice(0, count).join(' ');
    if (words.length < count || commandsOf(group).length === 0) continue;
    const left = words.slice(count);
    return { name: isListing(group, left) ? `${group} list` : undefined, group, left };
  }
  return { name: undefined, group: '', left: [...words] };
}

/** `atoll agents` alone is `atoll agents list`. */
function isListing(group: string, left: readonly string[]): boolean {
  const onlyFlags = left[0] === undefined || left[0].startsWith('-');
  return onlyFlags && !asksForHelp(left) && Object.hasOwn(commands, `${group} list`);
}

function asksForHelp(words: readonly string[]): boolean {
  const own = words.slice(0, words.includes('--') ? words.indexOf('--') : words.length);
  return own.includes('--help') || own.includes('-h');
}

/** The names of the commands that begin with `group`; all of them for ''. */
export function commandsOf(group: string): string[] {
  return Object.keys(commands).filter((name) => group === '' || name.startsWith(`${group} `));
}

function withoutCommand(group: string, left: readonly string[]): Parsed {
  const [first] = left;
  if (group === '' && (first === '--version' || first === '-v'))
    return { kind: 'version', json: left.includes('--json') };
  if (group === '' && first === 'help') return { kind: 'help', name: left.slice(1).join(' ') };
  if (first === undefined) {
    if (group === '') return { kind: 'help', name: '' };
    throw new UsageError(`"${group}" needs one of: ${verbsOf(group).join(', ')}`);
  }
  if (first.startsWith('-')) throw new UsageError(`unknown flag ${first}`);
  const near = closest(first, verbsOf(group));
  throw new UsageError(
    `there is no command "${[group, first].join(' ').trim()}"${near === undefined ? '' : `; did you mean "${near}"?`}`,
  );
}

function verbsOf(group: string): string[] {
  const depth = group === '' ? 0 : group.split(' ').length;
  return [...new Set(commandsOf(group).map((name) => name.split(' ')[depth] ?? ''))];
}

function parseFlags(command: Command, words: readonly string[]) {
  const options: Record<string, { type: 'string' | 'boolean'; short?: string; multiple?: boolean }> = {
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  };
  for (const [flag, { value, many = false }] of Object.entries(command.flags))
    options[flag] = { type: value === undefined ? 'boolean' : 'string', multiple: many };
  for (const setting of settingsOf(command))
    if (setting.flag !== undefined)
      options[setting.flag] = { type: setting.value === undefined ? 'boolean' : 'string' };
  // By `import`, everything in node:util that is lazy would be loaded at once: 2 ms.
  const { parseArgs } = process.getBuiltinModule('node:util');
  try {
    return parseArgs({ args: [...words], options, allowPositionals: true, strict: true });
  } catch (error) {
    // Its sentences are for people, but the second half explains how to quote, which is rarely the matter.
    throw new UsageError(error instanceof Error ? (error.message.split('. ')[0] ?? '') : String(error));
  }
}

function nameArguments(command: Command, words: readonly string[]) {
  const args: Record<string, string> = {};
  const left = [...words];
  for (const declared of command.args) {
    if (declared.endsWith('…')) {
      if (left.length === 0) throw new UsageError(`${declared.slice(0, -1)} is missing`);
      return { args, rest: left };
    }
    const word = left.shift();
    const optional = declared.startsWith('[');
    if (word !== undefined) args[optional ? declared.slice(1, -1) : declared] = word;
    else if (!optional) throw new UsageError(`${declared} is missing`);
  }
  const [extra] = left;
  if (extra !== undefined) throw new UsageError(command.refusal ?? `unexpected argument "${extra}"`);
  return { args, rest: [] };
}

function sortFlags(command: Command, values: Readonly<Record<string, unknown>>) {
  const sorted = {
    options: {} as Record<string, string>,
    lists: {} as Record<string, string[]>,
    switches: {} as Record<string, boolean>,
    settings: {} as Partial<Record<SettingName, string>>,
    json: values.json === true,
  };
  for (const name of command.settings) {
    const { flag } = settings[name];
    if (flag !== undefined && values[flag] !== undefined) sorted.settings[name] = String(values[flag]);
  }
  for (const flag of Object.keys(command.flags)) {
    const value = values[flag];
    if (typeof value === 'string') sorted.options[flag] = value;
    else if (Array.isArray(value)) sorted.lists[flag] = value.map(String);
    else if (value === true) sorted.switches[flag] = true;
  }
  return sorted;
}

export function settingsOf(command: Command): Setting[] {
  return command.settings.map((name) => settings[name]);
}

/** The candidate that is at most two typing slips away. */
function closest(word: string, candidates: readonly string[]): string | undefined {
  const ranked = candidates
    .map((candidate) => ({ candidate, slips: editDistance(word, candidate) }))
    .sort((a, b) => a.slips - b.slips);
  const [best] = ranked;
  return best !== undefined && best.slips <= 2 ? best.candidate : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
