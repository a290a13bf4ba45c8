/** What tests of a killed server need: clients that saw something, the kill, and what must hold after it. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { type Atoll, until } from './atoll.ts';
import { type RawEvent, readSse } from './raw-sse.ts';
import { groupsOf, processesOf, tracesOf } from './traces.ts';

/** After a kill -9 everything of the server is gone by itself within this. */
const GONE_MS = 5_000;

/** A client that reads a stream for as long as the server lives; `seen` grows. */
export type Witness = { readonly seen: RawEvent[]; readonly ended: Promise<unknown> };

export function watchEvents(atoll: Atoll, sessionId: string): Witness {
  return watch(atoll, { path: `/api/sessions/${sessionId}/events` });
}

export function watchTurn(atoll: Atoll, sessionId: string, content: string): Witness {
  const body = { content, includePartialMessages: true };
  return watch(atoll, { path: `/api/sessions/${sessionId}/messages`, method: 'POST', body });
}

function watch(atoll: Atoll, request: { path: string; method?: string; body?: unknown }): Witness {
  const seen: RawEvent[] = [];
  const { url, key } = atoll;
  const onEvent = (event: RawEvent) => {
    if (event.seq !== undefined) seen.push(event);
    return true;
  };
  // A server that is killed before it answers refuses or resets: this client then saw nothing.
  const ended = readSse({ url, key, ...request, onEvent }).then(
    (status) => assert.equal(status, 200),
    (error: NodeJS.ErrnoException) => assert.match(error.code ?? '', /^ECONN(RESET|REFUSED)$/),
  );
  return { seen, ended };
}

/** kill -9, and a start on the same data directory, with nothing of before left in between or afterwards. */
export async function killAndRestart(atoll: Atoll, witnesses: readonly Witness[] = []): Promise<void> {
  const mark = basename(atoll.dataDir);
  const groups = sandboxGroups(mark);
  await atoll.kill();
  await Promise.all(witnesses.map((witness) => witness.ended));
  await none(async () => tracesOf(mark));
  await atoll.restart();
  // What only the next start can remove.
  await none(async () => [...groups.filter(existsSync), ...(await socketsBelow(atoll.dataDir))]);
}

/** Told by the processes in them, and not by what the server wrote down. */
function sandboxGroups(mark: string): string[] {
  const all = processesOf(mark).flatMap(groupsOf);
  return [...new Set(all)].filter((group) => basename(group).startsWith('sbx_'));
}

async function socketsBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isSocket()).map((entry) => entry.name);
}

async function none(remains: () => Promise<string[]>): Promise<void> {
  await until(async () => (await remains()).length === 0, GONE_MS).catch(() => undefined);
  assert.deepEqual(await remains(), []);
}

/** The whole log as it is now, by SSE. */
export async function readLog(atoll: Atoll, sessionId: string): Promise<RawEvent[]> {
  const { session } = await atoll.client.call('session.show', { sessionId });
  const log: RawEvent[] = [];
  const path = `/api/sessions/${sessionId}/events`;
  const onEvent = (event: RawEvent) => {
    if (event.seq !== undefined) log.push(event);
    return log.length < session.lastSeq;
  };
  if (session.lastSeq > 0) await readSse({ url: atoll.url, key: atoll.key, path, onEvent });
  return log;
}

/** I1, I2: the log is dense, and holds what each client saw at the same seq with the same bytes. */
export function assertKept(log: readonly RawEvent[], witnesses: readonly Witness[]): void {
  assert.ok(
    log.every((event, at) => event.seq === at + 1),
    'the log is dense',
  );
  for (const { seen } of witnesses)
    for (const event of seen)
      assert.deepEqual(log[(event.seq ?? 0) - 1], event, 'what a client saw is in the log');
}

type Done = { turnId: string; status: string; cause?: string; detail?: string };

/** I10: every turn in the log has one end, with a cause unless it completed. Returns the ends, in order. */
export function endsOf(log: readonly RawEvent[]): Done[] {
  const data = (name: string) =>
    log.filter(({ event }) => event === name).map((event) => JSON.parse(event.data) as Done);
  const ends = data('done');
  assert.deepEqual(
    ends.map((end) => end.turnId),
    data('input').map((input) => input.turnId),
  );
  for (const { status, cause, detail } of ends)
    assert.ok(status === 'completed' || (cause && detail), status);
  return ends;
}

/** SIGKILL to every bwrap below the server. */
export async function killSandboxes(server: number): Promise<void> {
  let killed = 0;
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const [, name = '', parent = ''] = /^\d+ \((.*)\) \S (\d+)/.exec(stat) ?? [];
    if (name !== 'bwrap' || Number(parent) !== server) continue;
    process.kill(Number(pid), 'SIGKILL');
    killed++;
  }
  assert.ok(killed > 0, 'no sandbox was found to kill');
}
