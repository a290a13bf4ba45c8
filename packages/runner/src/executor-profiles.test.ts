import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyProfile, readProfiles } from './executor-profiles.ts';

const gemini = { kind: 'acp', command: ['gemini', '--acp'], model: 'flash' };

test('every kind has a profile of its own name, which the configuration may replace', () => {
  const names = (configured: object) => readProfiles(configured).map(({ name }) => name);
  assert.deepEqual(names({}), ['claude', 'acp', 'codex', 'program']);
  assert.deepEqual(names({ gemini }), ['claude', 'acp', 'codex', 'program', 'gemini']);
  const replaced = readProfiles({ claude: { kind: 'claude', model: 'small' } });
  assert.deepEqual(
    replaced.filter(({ name }) => name === 'claude').map(({ settings }) => settings),
    [{ kind: 'claude', model: 'small' }],
  );
});

test('what the agent says lies over what its profile says', () => {
  const profile = { ...gemini, approvals: { '*': 'always_ask', Bash: 'deny' } };
  const all = readProfiles({ gemini: profile });
  const own = { model: 'pro', approvals: { Bash: 'always_allow' } } as const;
  assert.deepEqual(applyProfile(all, { profile: 'gemini', ...own }).executor, {
    kind: 'acp',
    command: ['gemini', '--acp'],
    model: 'pro',
    approvals: { '*': 'always_ask', Bash: 'always_allow' },
  });
  const command = ['node', 'agent.mjs'];
  assert.deepEqual(applyProfile(all, { profile: 'program', kind: 'program', command }).executor, {
    kind: 'program',
    command,
  });
});

test('an agent that its profile cannot serve is refused, with the reason', () => {
  const all = readProfiles({ gemini });
  assert.throws(() => applyProfile(all, { profile: 'none' }), { code: 'no_runner', message: /profile none/ });
  assert.throws(() => applyProfile(all, { profile: 'gemini', kind: 'claude' }), {
    code: 'executor_failed',
    message: /kind claude.*gemini of the kind acp/,
  });
  assert.throws(() => applyProfile(all, { profile: 'acp' }), { code: 'executor_failed', message: /command/ });
});

const wrong: [what: string, configured: unknown, says: RegExp, code?: string][] = [
  ['a list', [], /Expected Object/],
  ['a name that is no name', { 'Ge mini': gemini }, /must be a name/],
  ['a kind that is none', { a: { kind: 'vm' } }, /"a.kind"/],
  ['an unknown member', { a: { ...gemini, comand: [] } }, /unknown field "a.comand"/],
  ['a name of another kind', { claude: gemini }, /"claude": the profile of that name is of the kind claude/],
  ['a command where there is none', { a: { kind: 'claude', command: ['x'] } }, /takes no command/],
  ['an empty command', { a: { kind: 'acp', command: [] } }, /"a.command"/],
  ['a mount that is relative', { a: { ...gemini, mounts: ['opt/x'] } }, /must be an absolute path/],
  ['a mount that leads back', { a: { ...gemini, mounts: ['/opt/../etc'] } }, /must be an absolute path/],
  ...['/', '/opt', '/workspace/x', '/home', '/home/agent', '/tmp', '/run/atoll', '/etc/ssl'].map(
    (path): [string, unknown, RegExp] => [
      `a mount of ${path}`,
      { a: { ...gemini, mounts: [path] } },
      /would cover what is the sandbox’s own/,
    ],
  ),
  [
    'a secret',
    { a: { ...gemini, env: { GEMINI_API_KEY: 'AIza0123456789abcdef' } } },
    /^"a.env.GEMINI_API_KEY" looks like a secret/,
    'secret_in_env',
  ],
];
for (const [what, configured, says, code = 'invalid_request'] of wrong)
  test(`a configuration with ${what} is refused`, () =>
    assert.throws(() => readProfiles(configured), { code, message: says }));

test('a value that is no secret may look like one when the operator says so', () => {
  const env = { GEMINI_API_KEY: 'added-by-the-atoll-gateway' };
  const [profile] = readProfiles({ a: { ...gemini, env, allowSecretEnv: true } }).slice(-1);
  assert.deepEqual([profile?.env, profile?.mounts], [env, []]);
});
