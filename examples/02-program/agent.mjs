/**
 * An agent of your own, in any language: a program that reads one line of JSON a turn on stdin and writes one JSON
 * object a line on stdout. Each is a `message` of the session; one of type "result" ends the turn.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const NOTES = 'notes.txt';

for await (const line of createInterface({ input: process.stdin })) {
  const { content } = JSON.parse(line);
  const text = typeof content === 'string' ? content : content.map((block) => block.text ?? '').join('\n');
  try {
    say(answer(text));
    // The line must begin with exactly this, so `type` stands first.
    write({ type: 'result', is_error: false });
  } catch (error) {
    write({ type: 'result', is_error: true, result: error.message });
  }
}

function answer(text) {
  if (text === 'list') return readFileSync(NOTES, 'utf8').trimEnd();
  appendFileSync(NOTES, `${text}\n`);
  return `Noted: ${text}`;
}

function say(text) {
  write({ type: 'assistant', message: { content: [{ type: 'text', text }] } });
}

function write(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
