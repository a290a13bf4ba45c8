import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { findCodex } from './codex-binary.ts';

const NAME = `@openai/codex-linux-${process.arch}`;

for (const [where, place] of [
  ['beside the package that wants it', ''],
  ['inside of it', '@openai/codex/node_modules'],
] as const)
  it(`is found ${where}, for the platform that is asked for`, () => {
    const root = mkdtempSync(join(tmpdir(), 'atoll-codex-'));
    const directory = join(root, 'node_modules', place, NAME);
    const binary = join(directory, 'vendor/some-target/bin/codex');
    mkdirSync(dirname(binary), { recursive: true });
    assert.equal(findCodex(join(root, 'main.js'), 'linux'), undefined, 'a folder alone is no Codex');
    writeFileSync(binary, '');
    assert.deepEqual(findCodex(join(root, 'main.js'), 'linux'), { name: NAME, directory, binary });
    assert.equal(findCodex(join(root, 'main.js'), 'plan9'), undefined);
    rmSync(root, { recursive: true });
  });
