import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';

const root = join(import.meta.dirname, '..');
const copy = mkdtempSync(join(tmpdir(), 'atoll-boundaries-'));
let report = '';

/** What may not be written, and the rule that says so. */
const offences: [file: string, source: string, rule: string][] = [
  ['protocol/src/a.ts', "import '@atoll/client';", 'noUndeclaredDependencies'],
  ['protocol/src/b.ts', "import 'node:fs';", 'noNodejsModules'],
  ['client/src/a.ts', "import '@atoll/server';", 'noUndeclaredDependencies'],
  ['client/src/b.ts', "import 'node:http';", 'noNodejsModules'],
  ['server/src/a.ts', "import '@atoll/runner';", 'noUndeclaredDependencies'],
  ['runner/src/a.ts', "import '../../server/src/index.ts';", 'noRestrictedImports'],
  ['server/src/store/a.ts', "import '../sessions/b.ts';", 'noRestrictedImports'],
  ['server/src/sessions/a.ts', "import '../routes/b.ts';", 'noRestrictedImports'],
  ['server/src/scheduler/a.ts', "import '../sessions/b.ts';", 'noRestrictedImports'],
  ['runner/src/drivers/a.ts', "import '../pool.ts';", 'noRestrictedImports'],
  ['bridge/src/one.ts', "import './two.ts'; export const one = 1;", 'noImportCycles'],
  [
    'bridge/src/two.ts',
    "import type { one } from './one.ts'; export type Two = typeof one;",
    'noImportCycles',
  ],
];

before(() => {
  for (const file of globSync(['biome.json', 'package.json', 'packages/*/package.json'], { cwd: root }))
    cpSync(join(root, file), join(copy, file));
  for (const [file, source] of offences) {
    mkdirSync(dirname(join(copy, 'packages', file)), { recursive: true });
    writeFileSync(join(copy, 'packages', file), `${source}\n`);
  }
  const flags = ['--colors=off', '--vcs-enabled=false', '--max-diagnostics=none'];
  const result = spawnSync('biome', ['lint', ...flags, '.'], { cwd: copy, encoding: 'utf8' });
  report = result.stdout + result.stderr;
});
after(() => rmSync(copy, { recursive: true, force: true }));

for (const [file, source, rule] of offences) {
  test(`packages/${file} may not say ${source}`, () => {
    assert.match(report, new RegExp(`packages/${file}:\\d+:\\d+ lint/\\w+/${rule}`), report);
  });
}
