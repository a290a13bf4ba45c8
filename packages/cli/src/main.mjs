#!/usr/bin/env node
/**
 * The binary: enables the compile cache, which halves the time to a listening server, and loads the rest through it.
 * Plain JavaScript, since stripping types before the cache is there would cost 30 ms at every start. The cache is in a
 * directory of this user alone: whoever could write there could run code in this process.
 */
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

// Fails silently where the directory cannot be written; then every start compiles anew.
enableCompileCache(join(homedir(), '.cache', 'atoll', 'compile'));
await import('./cli.ts');
