/**
 * Loaded into a server before anything else (`node --import`), also into its threads: a call of the file system, or a
 * signal, that a test chose fails there, or kills the server. What to do stands in a file that the test writes when it
 * likes (fs-faults.ts); it is done once, at the n-th call that fits.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import type { Fault } from './fs-faults.ts';

const at = fileURLToPath(new URL(new URL(import.meta.url).searchParams.get('plan') ?? ''));
const { readFileSync, writeFileSync, rmSync } = fs;
const threadCalls = [
  ...([
    'readdirSync',
    'lstatSync',
    'openSync',
    'readSync',
    'readlinkSync',
    'mkdirSync',
    'writeSync',
  ] as const),
  ...(['fchownSync', 'fchmodSync', 'futimesSync', 'symlinkSync', 'linkSync'] as const),
];
const promiseCalls = ['open', 'rename', 'mkdir', 'stat', 'utimes', 'readFile', 'writeFile', 'rm'] as const;
const handleCalls = ['writeFile', 'datasync', 'sync'] as const;
type AnyCall = (...args: unknown[]) => unknown;
let seen = 0;
let counted = '';

function planned(): Fault | undefined {
  try {
    const text = readFileSync(at, 'utf8');
    if (text !== counted) seen = 0;
    counted = text;
    return JSON.parse(text) as Fault;
  } catch {
    return undefined;
  }
}

/** Throws what the call is to fail with; does not return from a kill. */
function meet(call: string, path: unknown): void {
  const fault = planned();
  if (fault?.call !== call || !String(path).includes(fault.path ?? '')) return;
  // A thread that just begins loads its modules with the same calls.
  if (new Error().stack?.includes('node:internal/modules/')) return;
  if (++seen !== fault.nth) return;
  writeFileSync(`${at}.met`, call);
  if (fault.act === 'kill') kill(fault.afterMs ?? 0);
  else {
    rmSync(at);
    throw Object.assign(new Error(`${fault.act}: a test said so, ${call}`), { code: fault.act });
  }
}

const signal = process.kill.bind(process);

function kill(afterMs: number): void {
  const now = () => signal(process.pid, 'SIGKILL');
  if (afterMs > 0) return void setTimeout(now, afterMs);
  now();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

function wrap(owner: object, name: string, label: string, pathOf: (args: unknown[]) => unknown): void {
  const calls = owner as Record<string, AnyCall>;
  const original = calls[name]?.bind(owner);
  if (!original) throw new Error(`there is no ${name}`);
  calls[name] = (...args) => {
    meet(label, pathOf(args));
    return original(...args);
  };
}

const first = ([path]: unknown[]) => path;
if (!isMainThread) for (const name of threadCalls) wrap(fs, name, name, first);
for (const name of promiseCalls) {
  const original = fs.promises[name].bind(fs.promises) as AnyCall;
  Object.assign(fs.promises, {
    [name]: async (...args: unknown[]) => {
      meet(name, args[0]);
      const result = await original(...args);
      if (name === 'open') for (const of of handleCalls) wrapHandle(result as object, of, args[0]);
      return result;
    },
  });
}

function wrapHandle(handle: object, name: string, path: unknown): void {
  const calls = handle as Record<string, AnyCall>;
  const original = calls[name]?.bind(handle);
  calls[name] = async (...args: unknown[]) => {
    meet(`file.${name}`, path);
    return original?.(...args);
  };
}

process.kill = (pid, name) => {
  meet(String(name), '');
  return signal(pid, name);
};
syncBuiltinESMExports();
