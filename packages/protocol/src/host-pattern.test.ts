import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostPattern, isPrivateHost } from './host-pattern.ts';

const good: [text: string, pattern: string][] = [
  ['github.com', 'github.com'],
  ['GitHub.COM', 'github.com'],
  ['*.github.com', '*.github.com'],
  ['a.b-c.d1.example.org', 'a.b-c.d1.example.org'],
  ['xn--bcher-kva.example.org', 'xn--bcher-kva.example.org'],
  ['localhost', 'localhost'],
  ['git.corp', 'git.corp'],
  ['10.0.0.5', '10.0.0.5'],
  ['::1', '[::1]'],
  ['[::1]', '[::1]'],
  ['2001:DB8:0:0::5', '[2001:db8::5]'],
];

const bad = [
  '',
  '*',
  '*.',
  '*.com',
  '**.github.com',
  '*github.com',
  'git*.com',
  'a.*.com',
  '*.*.github.com',
  '*.localhost',
  '*.local',
  '*.git.internal',
  '*.home.arpa',
  '*.0.0.1',
  '*.1.2.3.4',
  '*.[::1]',
  '.github.com',
  'github.com.',
  'github..com',
  '-a.com',
  'a-.com',
  'a_b.com',
  `${'a'.repeat(64)}.com`,
  `${'a.'.repeat(130)}com`,
  'github.com:443',
  'user@github.com',
  'https://github.com',
  'github.com/acme',
  'github.com?x',
  'github.com#x',
  'github.com\0',
  'github.com\n',
  ' github.com',
  'github%2ecom',
  'bücher.example.org',
  'github。com',
  'git\u212aub.com',
  '127.1',
  '2130706433',
  '0x7f.1',
  '0x7f000001',
  '010.0.0.1',
  '256.1.1.1',
  '1.2.3',
  'a.1',
  '::1%eth0',
  '[::1',
  '::1]',
  '[[::1]]',
  '[1.2.3.4]',
  ':::',
];

for (const [text, pattern] of good) test(`${text} is a host`, () => assert.equal(hostPattern(text), pattern));

for (const text of bad)
  test(`${JSON.stringify(text.slice(0, 40))} is no host`, () => assert.equal(hostPattern(text), undefined));

test('a pattern is written as URL writes the host it stands for', () => {
  for (const [, pattern] of good)
    if (!pattern.startsWith('*')) assert.equal(new URL(`https://${pattern}/`).hostname, pattern);
});

test('addresses and names without a place in public DNS are private', () => {
  for (const host of ['localhost', 'git', 'git.corp', 'a.b.internal', '127.0.0.1', '8.8.8.8', '[::1]'])
    assert.ok(isPrivateHost(host), host);
  for (const host of ['github.com', 'local.example.org', 'notlocal.com'])
    assert.ok(!isPrivateHost(host), host);
});
