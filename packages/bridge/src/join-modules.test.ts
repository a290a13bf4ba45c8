import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, it } from 'node:test';
import { joinModules } from './join-modules.ts';

const directory = mkdtempSync(join(tmpdir(), 'atoll-join-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function joined(files: Record<string, string>): string {
  for (const [name, source] of Object.entries(files)) writeFileSync(join(directory, name), source);
  return joinModules({
    entry: join(directory, 'main.ts'),
    resolve: (specifier, from) => (specifier.startsWith('.') ? join(dirname(from), specifier) : undefined),
    stripTypes: stripTypeScriptTypes,
  });
}

it('keeps modules apart, and runs each once, when it is first imported', () => {
  const text = joined({
    'main.ts': `
import { basename as base, join } from 'node:path';
import {
  count,
  type Kind,
  name as other,
} from './a.ts';
import { Thing } from './b.js';
const name: Kind = 'main';
console.log(name, other, count(), new Thing().name, base(join('x', 'y')));
void import('./late.ts').then(({ late }) => late());`,
    'a.ts': `
export type Kind = string;
console.log('a runs');
export const name = 'a';
let n = 0;
export function count(): number { return ++n; }`,
    'b.js': `
import { count, name } from './a.ts';
import {} from './types.js';
export class Thing { name = name + 'b' + count(); }
export async function* unused() {}`,
    'types.js': 'export {};',
    'late.ts': `
import { count } from './a.ts';
console.log('late runs');
export async function late(): Promise<void> {
  const { EOL } = await import('node:os');
  console.log(count(), EOL === '\\n');
}`,
  });
  const file = join(directory, 'joined.cjs');
  writeFileSync(file, text);
  const { stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8' });
  assert.equal(stderr, '');
  assert.deepEqual(stdout.trim().split('\n'), ['a runs', 'main a 1 ab2 y', 'late runs', '3 true']);
});

const unknown: Record<string, string> = {
  'a default export': 'export default 1;',
  'a default import': "import path from 'node:path';",
  'a namespace': "import * as path from 'node:path';",
  'a list of exports': 'const a = 1;\nexport { a };',
  'an export from elsewhere': "export * from 'node:path';",
  'an export that changes': 'export let a = 1;',
  'an import that is no plain text': 'void import(`./a.ts`);',
  'import.meta': 'console.log(import.meta.url);',
};
for (const [what, source] of Object.entries(unknown))
  it(`refuses ${what}`, () => {
    assert.throws(() => joined({ 'main.ts': source }), /main\.ts cannot be joined/);
  });
