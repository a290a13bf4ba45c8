import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, test } from 'node:test';
import { readSecret } from './secret-input.ts';

const root = mkdtempSync(join(tmpdir(), 'atoll-secret-input-'));
after(() => rmSync(root, { recursive: true, force: true }));

const notes: string[] = [];
const terminal = { note: (text: string) => void notes.push(text) };

function pipe(...chunks: (string | Buffer)[]): NodeJS.ReadStream {
  const stream = new PassThrough();
  for (const chunk of chunks) stream.write(chunk);
  return Object.assign(stream.end(), { isTTY: false }) as unknown as NodeJS.ReadStream;
}

/** A terminal where these keys are hit; it says whether it is in raw mode. */
function keyboard(...keys: string[]) {
  const stream = new PassThrough();
  const state = { raw: false, rawOnce: false };
  const setRawMode = (raw: boolean) => {
    state.raw = raw;
    if (!raw) return;
    state.rawOnce = true;
    for (const key of keys) stream.write(key);
  };
  return { state, stdin: Object.assign(stream, { isTTY: true, setRawMode }) as unknown as NodeJS.ReadStream };
}

test('from a pipe, without one line end', async () => {
  for (const text of ['s3cret', 's3cret\n', 's3cret\r\n'])
    assert.equal(await readSecret(undefined, terminal, pipe(text)), 's3cret');
  assert.equal(await readSecret('-', terminal, pipe('pä', 'ss ')), 'päss ');
  assert.equal(
    await readSecret(undefined, terminal, pipe('two\n\n')),
    'two\n',
    'the server says what is wrong',
  );
});

test('from a file', async () => {
  const file = join(root, 'value');
  writeFileSync(file, 's3cret\n');
  assert.equal(await readSecret(file, terminal, pipe('other')), 's3cret');
  await assert.rejects(readSecret(join(root, 'none'), terminal, pipe()), { name: 'SetupError' });
});

test('nothing, no text, and what does not end are refused', async () => {
  for (const chunks of [[], ['\n'], [Buffer.from([0xff, 0xfe])], [Buffer.alloc(65 * 1024, 97)]])
    await assert.rejects(readSecret(undefined, terminal, pipe(...chunks)), { name: 'UsageError' });
});

test('a prompt shows nothing, takes corrections, and leaves the terminal as it was', async () => {
  const typed: [keys: string[], value: string][] = [
    [['s3c', 'ret', '\r'], 's3cret'],
    [['s3cret\nrest'], 's3cret'],
    [['wrong', '\u0015', 'pa', 'x', '\u007f', 'ä😀', '\u007f', '\u0004'], 'paä'],
  ];
  for (const [keys, value] of typed) {
    const { stdin, state } = keyboard(...keys);
    assert.equal(await readSecret(undefined, terminal, stdin), value);
    assert.deepEqual(state, { raw: false, rawOnce: true });
  }
  const { stdin, state } = keyboard('s3c', '\u0003');
  await assert.rejects(readSecret(undefined, terminal, stdin), { name: 'Interrupted' });
  assert.equal(state.raw, false);
  await assert.rejects(readSecret(undefined, terminal, keyboard('\r').stdin), { name: 'UsageError' });
  assert.ok(notes.length > 0 && !notes.join().includes('s3c'));
});
