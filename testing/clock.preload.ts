/** Loaded into a server before anything else: its clock is ahead by what stands in a file, and its sweeps come often. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const file = fileURLToPath(new URL(new URL(import.meta.url).searchParams.get('ahead') ?? ''));
const SWEEP_MS = 15_000;
const OFTEN_MS = 50;
const clock = Date.now;
const every = globalThis.setInterval;

Date.now = () => clock() + Number(readFileSync(file, 'utf8'));
Object.assign(globalThis, {
  setInterval: (work: () => void, ms: number) => every(work, ms === SWEEP_MS ? OFTEN_MS : ms),
});
