/**
 * The agent of the benchmarks, the same below Atoll and below the bare floor. `emit N`: N messages of 250 bytes as fast
 * as its pipe takes them, made beforehand so that their making is not measured. Anything else: one message.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const MESSAGE_BYTES = 250;
const BLOCK_LINES = 256;

const frame = JSON.stringify({ type: 'assistant', text: '' });
const message = frame.replace('""', `"${'x'.repeat(MESSAGE_BYTES - frame.length)}"`);
const block = Buffer.from(`${message}\n`.repeat(BLOCK_LINES));

for await (const line of createInterface({ input: process.stdin })) {
  const [word, count] = JSON.parse(line).content.split(' ');
  await emit(word === 'emit' ? Number(count) : 1);
  process.stdout.write('{"type":"result"}\n');
}

async function emit(count) {
  for (let left = count; left > 0; left -= BLOCK_LINES) {
    const lines = left >= BLOCK_LINES ? block : block.subarray(0, left * (MESSAGE_BYTES + 1));
    if (!process.stdout.write(lines)) await once(process.stdout, 'drain');
  }
}
