/** `npm run docs` rewrites the generated tables of docs/; with `--check` it only tells what is not as it should be. */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generatedTables, withTable } from './docs/generated.ts';
import { brokenLinks } from './docs/links.ts';

const root = join(import.meta.dirname, '..');
const check = process.argv.includes('--check');

const stale = generatedTables.filter(({ file, name, text }) => {
  const path = join(root, file);
  const now = readFileSync(path, 'utf8');
  const wanted = withTable(now, name, text());
  if (!check && wanted !== now) writeFileSync(path, wanted);
  return wanted !== now;
});
const documents = globSync(['*.md', 'docs/**/*.md', 'examples/**/*.md', 'packages/*/*.md'], {
  cwd: root,
}).sort();
const broken = brokenLinks(root, documents);

for (const { file, name } of stale)
  console.log(
    check ? `${file}: the table "${name}" is stale; run npm run docs` : `${file}: rewrote "${name}"`,
  );
for (const fault of broken) console.log(fault);
if (broken.length > 0 || (check && stale.length > 0)) process.exitCode = 1;
