/** The window. It knows the notes, and nothing of a worker: no pipe, no token, no environment, only its port. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { Step } from './api.ts';
import { exposeNotes } from './preload.ts';

const notes = exposeNotes((workerData as { port: MessagePort }).port);
const steps: Step[] = [];
notes.onStep((step) => steps.push(step));

await notes.add('buy bread');
await notes.add('water the plants');
const list = await notes.list();
const refused = await notes.add('').then(
  () => 'taken',
  (error: Error) => error.message,
);
parentPort?.postMessage({ list, steps: steps.length, refused, environment: Object.keys(process.env) });
