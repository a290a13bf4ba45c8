import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AtollError } from '../errors.ts';
import { operations } from '../operations.ts';
import { parse } from '../parse.ts';

const SECRET = 'mark-4f1b0c';
const base = { name: 'github', kind: 'bearer', hosts: ['github.com'], value: SECRET };
const set = (fields: object) => parse(operations['credential.set'].params, { ...base, ...fields });

const bad: Record<string, unknown[]> = {
  name: ['', 'A', '-a', '.a', 'a/b', '../a', 'a\0', 'a\n', 'é', 'a'.repeat(65), SECRET.repeat(20), 5, null],
  kind: ['', 'Bearer', 'cookie', SECRET, 5],
  hosts: [
    [],
    ['*'],
    ['*.com'],
    ['https://github.com'],
    [5],
    'github.com',
    [[SECRET]],
    Array(65).fill('a.com'),
  ],
  header: ['', 'a b', 'a:b', 'a\r\nb', 'Host', 'content-length', 'Proxy-Authorization', 'x'.repeat(65), 5],
  template: ['', 'Bearer', '{value}{value}', 'a\n{value}', ' {value}', '{value} ', 'é{value}', 5],
  username: ['', 'a:b', 'a\0', 'a\nb', 'x'.repeat(257), 5],
  url: [
    '',
    'github.com',
    'ftp://github.com',
    'http://github.com/x',
    'https://user@github.com',
    'https://u:p@github.com',
    'https://github.com/?a',
    'https://github.com/#a',
    'https://github.com\\x',
    'https://github.com/a b',
    'javascript:alert(1)',
    5,
  ],
  agents: [[], ['A'], ['*'], ['../x'], 'all', Array(257).fill('a')],
  methods: [[], ['get'], ['GET /'], ['CONNECT'], ['TRACE'], [''], 'GET', Array(17).fill('GET')],
  paths: [
    [],
    [''],
    ['a'],
    ['/../a'],
    ['/a/..'],
    ['/./a'],
    ['/a//b'],
    ['//a'],
    ['/a?b'],
    ['/a#b'],
    ['/a\\b'],
    ['/a b'],
    ['/a\0'],
    ['/%2e%2e/a'],
    ['/a%2Fb'],
    ['/a%5cb'],
    ['/a%00'],
    ['/a%0a'],
    ['/a%zz'],
    ['/a%2'],
    ['/é'],
    [`/${'a'.repeat(1024)}`],
  ],
  value: [
    '',
    'a\nb',
    'a\r',
    'a\0',
    '\ud800',
    'x'.repeat(16 * 1024 + 1),
    12_345_678,
    { secret: SECRET },
    [SECRET],
  ],
};

for (const [field, values] of Object.entries(bad))
  for (const value of values)
    test(`${field} may not be ${JSON.stringify(value).slice(0, 40)}`, () => {
      assert.throws(
        () => set({ [field]: value }),
        ({ code, message }: AtollError) =>
          code === 'invalid_request' &&
          message.includes(field) &&
          !message.includes('12345678') &&
          !message.includes(SECRET),
      );
    });

test('what is right passes, in one spelling', () => {
  const given = set({
    hosts: ['GitHub.com', '*.GitHub.com', '::1'],
    header: 'PRIVATE-TOKEN',
    template: 'Token {value}',
    username: 'x-access-token',
    agents: ['reviewer'],
    methods: ['GET', 'POST', 'PROPFIND'],
    paths: ['/', '/acme/', '/acme/repo.git', '/%40scope/pkg'],
  });
  assert.deepEqual(given.hosts, ['github.com', '*.github.com', '[::1]']);
  assert.equal(given.header, 'private-token');
  for (const url of ['https://mcp.example.org/mcp', 'http://127.0.0.1:8000', 'http://vllm:8000/v1'])
    assert.equal(set({ url }).url, url);
  assert.equal(set({ value: 'pass wörd' }).value, 'pass wörd');
});
