/**
 * Where the Codex of this machine is: the package `@openai/codex` beside Atoll holds a package for each platform, which
 * holds the program with what it needs in files beside it. It starts without Node.
 */
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

export const CODEX = '@openai/codex';

export type CodexPackage = { name: string; directory: string; binary: string };

/** The package for `platform` as Node would find it from the file `from`, or undefined. */
export function findCodex(from: string, platform: string): CodexPackage | undefined {
  const name = `${CODEX}-${platform}-${process.arch}`;
  // npm puts it beside the package that wants it, or inside.
  for (const path of createRequire(from).resolve.paths(name) ?? [])
    for (const directory of [join(path, name), join(path, CODEX, 'node_modules', name)]) {
      const binary = binaryIn(join(directory, 'vendor'));
      if (binary !== undefined) return { name, directory, binary };
    }
  return undefined;
}

/** In a folder named for the target it was built for. */
function binaryIn(vendor: string): string | undefined {
  if (!existsSync(vendor)) return undefined;
  return readdirSync(vendor)
    .map((target) => join(vendor, target, 'bin', 'codex'))
    .find((binary) => existsSync(binary));
}
