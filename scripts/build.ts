/**
 * `npm run build`: every package as it is published, in build/<package>/. One compiler run emits all of them (and only
 * what changed); then each gets its package.json, pointing at what was emitted, and the papers.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { publishedManifest } from './build/manifest.ts';

const root = join(import.meta.dirname, '..');
const build = join(root, 'build');

removeOrphans();
const compiler = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (compiler.status !== 0) process.exit(1);
for (const name of globSync('packages/*/package.json', { cwd: root }).map((path) => path.split('/')[1] ?? ''))
  finish(name);

/** What an earlier build emitted from files that are gone since. */
function removeOrphans(): void {
  for (const path of globSync('*/src/**/*.js', { cwd: build })) {
    if (existsSync(join(root, 'packages', path.replace(/\.js$/, '.ts')))) continue;
    for (const emitted of [path, path.replace(/\.js$/, '.d.ts')])
      rmSync(join(build, emitted), { force: true });
  }
}

function finish(name: string): void {
  const from = join(root, 'packages', name);
  const to = join(build, name);
  for (const asset of globSync('src/**/*', { cwd: from, withFileTypes: true })) {
    if (!asset.isFile() || asset.name.endsWith('.ts')) continue;
    const path = join(asset.parentPath, asset.name);
    cpSync(path, join(to, path.slice(from.length)));
  }
  for (const file of globSync('src/**/*.{js,mjs}', { cwd: to })) pointAtJavaScript(join(to, file));
  const manifest: unknown = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8'));
  const published = publishedManifest(manifest);
  for (const folder of published.files.filter((file) => file !== 'src' && existsSync(join(from, file))))
    cpSync(join(from, folder), join(to, folder), { recursive: true });
  writeFileSync(join(to, 'package.json'), `${JSON.stringify(published, null, 2)}\n`);
  cpSync(join(root, 'LICENSE'), join(to, 'LICENSE'));
  const readme = existsSync(join(from, 'README.md')) ? join(from, 'README.md') : join(root, 'README.md');
  cpSync(readme, join(to, 'README.md'));
}

/**
 * The compiler rewrites imports; it does not know that the file of a worker or a child process is a module too. Every
 * literal that names an emitted module by its source does the same here.
 */
function pointAtJavaScript(file: string): void {
  const emitted = readFileSync(file, 'utf8');
  const rewritten = emitted.replace(/(['"])((?:\.{1,2}\/)?[\w./-]+)\.ts\1/g, (literal, quote, path) =>
    existsSync(join(dirname(file), `${path}.js`)) ? `${quote}${path}.js${quote}` : literal,
  );
  if (rewritten !== emitted) writeFileSync(file, rewritten);
}
