/**
 * The agent of the benchmarks, the same below Atoll and below the bare floor. `emit N`: N messages of 250 bytes as fast
 * as its pipe takes them, made beforehand so that their making is not measured. Anything else: one message.
 *
 * The messages are like those of a streaming SDK: their keys and the session repeat, their text and id do not.
 */
import { randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const MESSAGE_BYTES = 250;
/** Messages before they repeat: more than any one write of the server holds. */
const MESSAGES = 16_384;
const WRITE_MESSAGES = 256;
const LINE_BYTES = MESSAGE_BYTES + 1;

const words =
  'the agent reads a file then edits what it found and runs every test again until all pass'.split(' ');
const session_id = randomUUID();

const messages = Buffer.from(Array.from({ length: MESSAGES }, () => `${makeMessage()}\n`).join(''));

for await (const line of createInterface({ input: process.stdin })) {
  const [word, count] = JSON.parse(line).content.split(' ');
  await emit(word === 'emit' ? Number(count) : 1);
  process.stdout.write('{"type":"result"}\n');
}

function makeMessage() {
  const event = { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: '' } };
  const empty = JSON.stringify({
    type: 'stream_event',
    event,
    session_id,
    parent_tool_use_id: null,
    uuid: randomUUID(),
  });
  let text = '';
  while (empty.length + text.length < MESSAGE_BYTES) text += ` ${words[randomInt(words.length)]}`;
  return empty.replace('"text":""', `"text":"${text.slice(0, MESSAGE_BYTES - empty.length)}"`);
}

async function emit(count) {
  let at = 0;
  for (let left = count; left > 0; left -= WRITE_MESSAGES) {
    const bytes = Math.min(left, WRITE_MESSAGES) * LINE_BYTES;
    if (at + bytes > messages.length) at = 0;
    if (!process.stdout.write(messages.subarray(at, at + bytes))) await once(process.stdout, 'drain');
    at += bytes;
  }
}
