import { type Command, commands } from './commands.ts';
import { commandsOf, settingsOf } from './parse.ts';
import { table } from './terminal.ts';

/** Help for one command, for a group of them, or (name '') for all. */
export function helpText(name: string): string {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  return command === undefined ? groupHelp(name) : commandHelp(name, command);
}

function commandHelp(name: string, command: Command): string {
  const usage = ['atoll', name, ...command.args, '[flags]'].join(' ');
  return [
    command.summary,
    '',
    `  ${usage}`,
    ...section('Flags', flagRows(command)),
    ...section(
      'Examples',
      command.examples.map((example) => [example]),
    ),
    '',
  ].join('\n');
}

function groupHelp(group: string): string {
  const names = commandsOf(group);
  if (names.length === 0) return `There is no command "${group}".\n\n${groupHelp('')}`;
  const rows = names.map((name) => [
    `atoll ${[name, ...(commands[name]?.args ?? [])].join(' ')}`,
    commands[name]?.summary ?? '',
  ]);
  const intro =
    group === '' ? ['atoll runs AI coding agents as durable sessions, each in its own sandbox.'] : [];
  return [
    ...intro,
    ...section('Commands', rows),
    ...section('Everywhere', [
      ['--json', 'Output for programs, one JSON value a line'],
      ['--help', 'Flags and examples of a command'],
      ['--version', 'The version'],
    ]),
    ...section('Exit codes', [['0 done, 1 failed, 2 bad usage, 3 cannot reach the server, 130 interrupted']]),
    '',
  ].join('\n');
}

function flagRows(command: Command): string[][] {
  const own = Object.entries(command.flags).map(([flag, { value, many, summary }]) => [
    `--${flag}${value === undefined ? '' : ` ${value}${many ? '…' : ''}`}`,
    summary,
  ]);
  const shared = settingsOf(command)
    .filter((setting) => setting.flag !== undefined)
    .map((setting) => [
      `--${setting.flag}${setting.value === undefined ? '' : ` ${setting.value}`}`,
      `${setting.summary} (${setting.variable}; default ${setting.shownDefault})`.replaceAll('`', ''),
    ]);
  return [...own, ...shared, ['--json', 'Output for programs']];
}

function section(title: string, rows: string[][]): string[] {
  return rows.length === 0 ? [] : ['', `${title}:`, ...table(rows).map((row) => `  ${row}`)];
}
