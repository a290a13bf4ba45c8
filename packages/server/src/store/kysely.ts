/**
 * The only place that loads Kysely. Its 300 small ES modules take 95 ms when Node resolves and stats each one, longer
 * than the rest of the server's start. They import each other by exact relative paths only, so the resolving can be
 * skipped: 38 ms, and 28 with the compile cache. Elsewhere, import types from 'kysely' and nothing else.
 */

import { readFileSync } from 'node:fs';
import { type LoadHookSync, type ResolveHookSync, registerHooks } from 'node:module';

export async function loadKysely(): Promise<typeof import('kysely')> {
  const root = new URL('.', import.meta.resolve('kysely')).href;
  const resolve: ResolveHookSync = (specifier, context, next) =>
    specifier.startsWith('.') && context.parentURL?.startsWith(root)
      ? { url: new URL(specifier, context.parentURL).href, format: 'module', shortCircuit: true }
      : next(specifier, context);
  const load: LoadHookSync = (url, context, next) =>
    url.startsWith(root)
      ? { source: readFileSync(new URL(url)), format: 'module', shortCircuit: true }
      : next(url, context);
  const hooks = registerHooks({ resolve, load });
  try {
    return await import('kysely');
  } finally {
    hooks.deregister();
  }
}
