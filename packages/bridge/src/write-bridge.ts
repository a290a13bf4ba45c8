/** For the host: writes the bridge as one file. In a process of its own, which `stage.ts` starts. */
import { writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeBridge } from './install.ts';
import { joinModules } from './join-modules.ts';

export function writeBridge(file: string): void {
  const entry = describeBridge().hostCommand.at(-1) ?? '';
  writeFileSync(file, joinModules({ entry, resolve, stripTypes: stripTypeScriptTypes }));
}

function resolve(specifier: string, from: string): string | undefined {
  if (specifier.startsWith('.')) return join(dirname(from), specifier);
  return specifier.startsWith('@atoll/') ? fileURLToPath(import.meta.resolve(specifier)) : undefined;
}
