#!/usr/bin/env node
/** The binary: the compile cache first, so that it serves everything that is loaded after it. */
import './compile-cache.ts';

await import('./cli.ts');
