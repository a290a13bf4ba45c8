import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { eventData } from '@atoll/client';
import { type Atoll, deploy, processesWith, startAtoll, until } from '../testing/atoll.ts';

// 01-hello needs the Claude Agent SDK and a model; scripts/quickstart.test.ts runs it.

let atoll: Atoll;
before(async () => {
  atoll = await startAtoll();
});
after(() => atoll[Symbol.asyncDispose]());

async function deployExample(name: string): Promise<void> {
  const directory = join(import.meta.dirname, name);
  const paths = await readdir(directory);
  const files = paths.map(async (path) => [path, await readFile(join(directory, path), 'utf8')] as const);
  await deploy(atoll.client, name, Object.fromEntries(await Promise.all(files)));
}

test('02-program keeps notes, and a turn that cannot be done fails', async () => {
  const { client } = atoll;
  await deployExample('02-program');
  const { session } = await client.call('session.create', { agent: '02-program' });
  const ask = async (content: string) => {
    const events = await Array.fromAsync(client.send(session.id, { content }));
    const said = events.filter((event) => event.event === 'message').map((event) => event.text);
    const last = events.at(-1);
    return { said: said.join('\n'), status: last && eventData(last, 'done')?.status };
  };

  assert.equal((await ask('list')).status, 'failed', 'there are no notes yet');
  assert.match((await ask('buy bread')).said, /Noted: buy bread/);
  assert.equal((await ask('water the plants')).status, 'completed');
  assert.match((await ask('list')).said, /buy bread\\nwater the plants/);
  const notes = await client.readFile(session.id, 'notes.txt');
  assert.equal(await new Response(notes).text(), 'buy bread\nwater the plants\n');
  await client.call('session.end', { sessionId: session.id });
});

test('03-acp keeps a list, and asks before it books', async () => {
  const { client } = atoll;
  await deployExample('03-acp');
  const { session } = await client.call('session.create', { agent: '03-acp' });
  const send = (content: string) => Array.fromAsync(client.send(session.id, { content }));
  assert.match((await send('Lisbon')).map(({ text }) => text).join(), /On the list: Lisbon/);
  const booking = send('book');
  const { id, input } = await until(async () => {
    const { approvals } = await client.call('approval.list', { sessionId: session.id });
    return approvals[0];
  });
  assert.deepEqual(input, { stops: ['Lisbon'] });
  await client.call('approval.decide', { sessionId: session.id, approvalId: id, decision: 'allow' });
  assert.match((await booking).map(({ text }) => text).join(), /Booked/);
  const tickets = await client.readFile(session.id, 'tickets.txt');
  assert.equal(await new Response(tickets).text(), '1 ticket to Lisbon\n');
  await client.call('session.end', { sessionId: session.id });
});

test('04-desktop-host: the window gets its calls, and nothing else; the worker ends with the app', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'atoll-desktop-'));
  const main = join(import.meta.dirname, '04-desktop-host', 'main.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [main, dataDir]);
  const shown = JSON.parse(stdout) as Record<'list' | 'refused', string> & {
    environment: string[];
    steps: number;
  };
  assert.match(shown.list, /buy bread\\nwater the plants/);
  assert.match(shown.refused, /may add a note/);
  assert.ok(shown.steps >= 9, 'three turns of at least an input, a message and a done');
  assert.deepEqual(shown.environment, []);
  assert.deepEqual(await processesWith(dataDir), []);
  const window = await readFile(join(import.meta.dirname, '04-desktop-host', 'renderer.ts'), 'utf8');
  assert.doesNotMatch(window, /@atoll/);
  await rm(dataDir, { recursive: true });
});
