import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ConfigSources, readConfig } from './config.ts';
import { settings } from './settings.ts';

const read = (sources: Partial<ConfigSources>) =>
  readConfig({ flags: {}, environment: {}, file: undefined, ...sources });

test('a flag wins over a variable, that over the file, that over the default', () => {
  const file = '{"port": 1, "capacity": 2}';
  const environment = { ATOLL_PORT: '3' };
  assert.equal(read({}).port, 4100);
  assert.equal(read({ file }).port, 1);
  assert.equal(read({ file, environment }).port, 3);
  assert.equal(read({ file, environment, flags: { port: '4' } }).port, 4);
  assert.equal(read({ file, environment }).capacity, 2);
  assert.equal(read({ environment: { ATOLL_PORT: '' } }).port, 4100, 'an empty variable is none');
});

test('executor profiles are an object in the file, and its JSON in the variable', () => {
  const file = '{"executorProfiles": {"a": {"kind": "acp"}}}';
  assert.deepEqual(read({}).executorProfiles, {});
  assert.deepEqual(read({ file }).executorProfiles, { a: { kind: 'acp' } });
  const environment = { ATOLL_EXECUTOR_PROFILES: '{"b": {}}' };
  assert.deepEqual(read({ file, environment }).executorProfiles, { b: {} });
});

test('times have a unit, or no end', () => {
  const { idlePause, keepSessions, compactPartials } = read({});
  assert.deepEqual([idlePause, keepSessions, compactPartials], [1_800_000, undefined, 604_800_000]);
  const file = '{"keepSessions": "90d", "idlePause": "never"}';
  const some = read({ file, environment: { ATOLL_END_PAUSED: '12h' }, flags: { thinSnapshots: '45s' } });
  assert.deepEqual([some.keepSessions, some.idlePause], [7_776_000_000, undefined]);
  assert.deepEqual([some.endPaused, some.thinSnapshots], [43_200_000, 45_000]);
});

test('the data directory follows XDG', () => {
  assert.equal(read({ environment: { XDG_DATA_HOME: '/x' } }).dataDir, '/x/atoll');
  assert.match(read({}).dataDir, /\.local\/share\/atoll$/);
});

const wrong: [what: string, sources: Partial<ConfigSources>, says: RegExp][] = [
  ['a flag out of range', { flags: { port: '65536' } }, /^--port must be a whole number from 0 to 65535$/],
  ['a flag that is no number', { flags: { capacity: '3x' } }, /^--capacity must be/],
  [
    'a variable of another set',
    { environment: { ATOLL_DRIVER: 'vm' } },
    /^ATOLL_DRIVER must be one of bubblewrap/,
  ],
  ['a time without a unit', { flags: { idlePause: '30' } }, /^--idle-pause must be a time .* 30m/],
  ['no time at all', { flags: { keepSessions: '0d' } }, /^--keep-sessions must be a time/],
  ['a time beyond a life', { flags: { keepSessions: '9999d' } }, /at most 7300d/],
  ['another word for no end', { flags: { keepSessions: 'never' } }, /or forever$/],
  ['a broken file', { file: '{' }, /^atoll\.config\.json is not JSON/],
  ['a file that is a list', { file: '[]' }, /must hold one JSON object/],
  ['an unknown name in the file', { file: '{"prot": 1}' }, /there is no setting "prot"/],
  ['an inherited name in the file', { file: '{"toString": 1}' }, /there is no setting "toString"/],
  ['a secret in the file', { file: '{"key": "k"}' }, /is a secret; set ATOLL_API_KEY instead/],
  [
    'text for an object',
    { environment: { ATOLL_EXECUTOR_PROFILES: '{' } },
    /^ATOLL_EXECUTOR_PROFILES must be JSON/,
  ],
  [
    'text for an object in the file',
    { file: '{"executorProfiles": "{}"}' },
    /"executorProfiles" must be an object/,
  ],
  ['a list for an object', { file: '{"executorProfiles": []}' }, /executorProfiles must be an object/],
  ['a list in the file', { file: '{"port": [1]}' }, /"port" must be a string, a number or a boolean/],
];
for (const [what, sources, says] of wrong)
  test(`${what} is bad usage`, () =>
    assert.throws(() => read(sources), { name: 'UsageError', message: says }));

test('secrets have no flag that would show in the list of processes, but for --key', () => {
  const secret = Object.entries(settings).filter(([, setting]) => !setting.inFile);
  assert.deepEqual(
    secret.map(([name, { flag }]) => [name, flag]),
    [
      ['key', 'key'],
      ['runnerKey', undefined],
      ['oidcClientSecret', undefined],
      ['anthropicApiKey', undefined],
      ['secretKey', undefined],
      ['launchToken', undefined],
      ['openaiApiKey', undefined],
    ],
  );
});

test('the secret key is 32 bytes, as hex or base64, and never repeated', () => {
  const bytes = Buffer.from(Array.from({ length: 32 }, (_, at) => at * 8));
  const of = (text: string) => read({ environment: { ATOLL_SECRET_KEY: text } }).secretKey;
  for (const encoding of ['hex', 'base64', 'base64url'] as const)
    assert.deepEqual(of(bytes.toString(encoding)), bytes, encoding);
  assert.deepEqual(of(bytes.toString('hex').toUpperCase()), bytes);
  assert.equal(of(''), undefined);
  for (const text of [
    'x',
    'a'.repeat(42),
    'a'.repeat(63),
    'g'.repeat(64),
    ` ${'a'.repeat(43)}`,
    'a'.repeat(45),
  ])
    assert.throws(
      () => of(text),
      ({ name, message }: Error) =>
        name === 'UsageError' &&
        /^ATOLL_SECRET_KEY must be 32 bytes/.test(message) &&
        !message.includes('aaaa'),
    );
});
