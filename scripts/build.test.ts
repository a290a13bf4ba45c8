import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { publishedManifest } from './build/manifest.ts';

const root = join(import.meta.dirname, '..');
const scratch = mkdtempSync(join(tmpdir(), 'atoll-build-test-'));
const installed = join(scratch, 'app');
const atoll = join(installed, 'node_modules/.bin/atoll');

before(() => {
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, { cwd: root, stdio: 'pipe' });
  run('node', 'scripts/build.ts');
  const packages = globSync('build/*/package.json', { cwd: root }).map(
    (path) => `./${path.replace('/package.json', '')}`,
  );
  run('npm', 'pack', '--pack-destination', scratch, ...packages);
  const tarballs = globSync('*.tgz', { cwd: scratch }).map((name) => join(scratch, name));
  run('npm', 'install', '--prefix', installed, '--prefer-offline', '--no-audit', '--no-fund', ...tarballs);
});
after(() => rmSync(scratch, { recursive: true, force: true }));

const runAtoll = (...words: string[]) => execFileSync(atoll, words, { encoding: 'utf8', cwd: installed });

test('what is published runs from an empty folder', () => {
  assert.equal(runAtoll('--version'), 'atoll 0.1.0\n');
  assert.match(runAtoll('--help'), /atoll start/);
});

test('and serves a session in a sandbox', async (t) => {
  const dataDir = join(scratch, 'data');
  const server = spawn(atoll, ['start', '--port', '0', '--data-dir', dataDir, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(async () => {
    server.kill('SIGTERM');
    if (server.exitCode === null) await once(server, 'exit');
    assert.equal(server.exitCode, 0);
  });
  const [line] = (await once(createInterface({ input: server.stdout }), 'line')) as [string];
  const { url } = JSON.parse(line) as { url: string };
  const there = ['--server', url, '--data-dir', dataDir];
  runAtoll('deploy', join(root, 'examples/02-program'), '--name', 'notes', ...there);
  assert.match(runAtoll('run', 'notes', 'buy bread', ...there), /Noted: buy bread\n✓ done/);
});

test('the code of docs/api.md compiles in strict mode against what is published', () => {
  const [, code = ''] = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, 'docs/api.md'), 'utf8')) ?? [];
  assert.match(code, /createClient/);
  writeFileSync(join(installed, 'use.mts'), `declare const key: string;\n${code}`);
  const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024', '--types', ''];
  execFileSync('tsc', [...flags, 'use.mts'], { cwd: installed, stdio: 'pipe' });
});

test('a published package.json points at what was emitted and holds nothing of the workspace', () => {
  const published = publishedManifest({
    name: 'x',
    private: true,
    scripts: { a: 'b' },
    devDependencies: { c: '1' },
    bin: { x: './src/main.ts' },
    exports: { '.': './src/index.ts', './*': './src/*.ts', './package.json': './package.json' },
  });
  assert.deepEqual(published, {
    name: 'x',
    bin: { x: './src/main.js' },
    exports: {
      '.': { types: './src/index.d.ts', default: './src/index.js' },
      './*': { types: './src/*.d.ts', default: './src/*.js' },
      './package.json': './package.json',
    },
    files: ['src'],
    publishConfig: { access: 'public' },
  });
});
