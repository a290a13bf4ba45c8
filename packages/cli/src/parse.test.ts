import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands } from './commands.ts';
import { helpText } from './help.ts';
import { type Parsed, parseCommandLine } from './parse.ts';

type Expected =
  | { is: 'version' }
  | { is: 'help'; of: string }
  | { is: 'wrong'; says: RegExp }
  | (Partial<Omit<Parsed & { kind: 'command' }, 'kind'>> & { is: 'command' });

const cases: [line: string, expected: Expected][] = [
  ['', { is: 'help', of: '' }],
  ['--help', { is: 'help', of: '' }],
  ['help session send', { is: 'help', of: 'session send' }],
  ['--version', { is: 'version' }],
  ['start --help', { is: 'help', of: 'start' }],
  ['session --help', { is: 'help', of: 'session' }],
  ['session files -h', { is: 'help', of: 'session files' }],
  ['start', { is: 'command', name: 'start', settings: {}, json: false }],
  [
    'start --port 0 --data-dir d --json --allow-remote',
    { is: 'command', settings: { port: '0', dataDir: 'd', allowRemote: 'true' }, json: true },
  ],
  ['agents', { is: 'command', name: 'agents list' }],
  ['agents --json', { is: 'command', name: 'agents list', json: true }],
  ['session list --status idle', { is: 'command', options: { status: 'idle' } }],
  ['run hello', { is: 'command', args: { AGENT: 'hello' } }],
  [
    'run hello hi --keep',
    { is: 'command', args: { AGENT: 'hello', PROMPT: 'hi' }, switches: { keep: true } },
  ],
  ['run hello -- --hi', { is: 'command', args: { AGENT: 'hello', PROMPT: '--hi' } }],
  ['session exec ses_1 -- ls -la --json', { is: 'command', rest: ['ls', '-la', '--json'], json: false }],
  ['session exec ses_1 --cwd src pwd', { is: 'command', rest: ['pwd'], options: { cwd: 'src' } }],
  [
    'session diff ses_1 --from 3 --to 2026-01-01T00:00:00Z --stat',
    { is: 'command', options: { from: '3', to: '2026-01-01T00:00:00Z' }, switches: { stat: true } },
  ],
  ['session files read ses_1 a.txt', { is: 'command', name: 'session files read' }],
  ['credential', { is: 'command', name: 'credential list' }],
  ['credentials', { is: 'command', name: 'credential list' }],
  ['credentials delete x', { is: 'command', name: 'credential delete' }],
  ['credential set x', { is: 'command', args: { NAME: 'x' }, options: {}, lists: {} }],
  [
    'credential set x --kind bearer --host a.com --host b.com --method GET',
    { is: 'command', options: { kind: 'bearer' }, lists: { host: ['a.com', 'b.com'], method: ['GET'] } },
  ],
  ['credential set x --value', { is: 'wrong', says: /--value'/ }],
  ['deploy', { is: 'wrong', says: /DIR is missing/ }],
  ['session exec ses_1', { is: 'wrong', says: /COMMAND is missing/ }],
  ['session show a b', { is: 'wrong', says: /unexpected argument "b"/ }],
  ['deploy . --nam x', { is: 'wrong', says: /--nam/ }],
  ['start --port', { is: 'wrong', says: /--port/ }],
  ['doctor --port 1', { is: 'wrong', says: /--port/ }],
  ['strat', { is: 'wrong', says: /did you mean "start"/ }],
  ['session sned ses_1', { is: 'wrong', says: /did you mean "send"/ }],
  ['session frobnicate', { is: 'wrong', says: /no command "session frobnicate"$/ }],
  ['--frob', { is: 'wrong', says: /unknown flag --frob/ }],
  ['toString', { is: 'wrong', says: /no command "toString"/ }],
];

for (const [line, expected] of cases) {
  test(`atoll ${line}`, () => {
    const words = line === '' ? [] : line.split(' ');
    if (expected.is === 'wrong')
      return assert.throws(() => parseCommandLine(words), { name: 'UsageError', message: expected.says });
    const parsed = parseCommandLine(words);
    assert.equal(parsed.kind, expected.is);
    if (expected.is === 'help') assert.equal(parsed.kind === 'help' && parsed.name, expected.of);
    if (expected.is === 'command') {
      const { is: _, ...fields } = expected;
      for (const [name, value] of Object.entries(fields))
        assert.deepEqual({ ...parsed }[name as keyof Parsed], value, name);
    }
  });
}

test('every command has help with an example that parses, and code to load', async () => {
  for (const [name, command] of Object.entries(commands)) {
    assert.match(helpText(name), new RegExp(`atoll ${name}`));
    assert.ok(command.examples.length > 0, name);
    const module = await command.load();
    assert.equal(typeof module.run, 'function', name);
  }
  assert.match(helpText(''), /atoll session files write/);
  assert.match(helpText('nonsense'), /no command "nonsense"/);
});

test('a secret given as an argument is refused and not repeated', () => {
  for (const words of [['mark-4f1b0c'], ['--value', 'mark-4f1b0c'], ['--value=mark-4f1b0c']])
    assert.throws(
      () => parseCommandLine(['credential', 'set', 'x', '--kind', 'bearer', ...words]),
      ({ name, message }: Error) => name === 'UsageError' && !message.includes('mark'),
    );
});
