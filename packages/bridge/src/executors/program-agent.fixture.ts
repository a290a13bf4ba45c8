/** For tests: a program that understands the sentences of the stand-in's default script, and keeps its memory in its workspace. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

const MEMORY = 'memory.txt';
let interrupted = false;
process.on('SIGINT', () => {
  interrupted = true;
});

for await (const line of createInterface({ input: process.stdin })) {
  interrupted = false;
  await answer(String(JSON.parse(line).content));
}

async function answer(said: string): Promise<void> {
  const remember = /^remember (.+)$/.exec(said)?.[1];
  const count = /^count slowly to (\d+)/.exec(said)?.[1];
  const noise = /^log (\d+)/.exec(said)?.[1];
  if (remember !== undefined) appendFileSync(MEMORY, `${remember}\n`);
  if (noise !== undefined) process.stderr.write('e'.repeat(Number(noise)));
  if (count !== undefined) return countTo(Number(count));
  if (said.startsWith('fail')) return finish('The model failed.', true);
  if (said.startsWith('what do you remember')) return finish(`I remember: ${recall()}`);
  finish(`You said: ${said}`);
}

async function countTo(last: number): Promise<void> {
  for (let number = 1; number <= last && !interrupted; number++) {
    say(String(number));
    await delay(20);
  }
  finish('Counted.', interrupted);
}

function recall(): string {
  return existsSync(MEMORY) ? readFileSync(MEMORY, 'utf8').trim().split('\n').join('; ') : '';
}

function say(text: string): void {
  process.stdout.write(`${JSON.stringify({ type: 'assistant', text })}\n`);
}

function finish(result: string, isError = false): void {
  say(result);
  // A program that speaks like the SDK may name a session; it has none that Atoll could go on with.
  const line = { type: 'result', is_error: isError, result, session_id: 'its-own' };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
