/** What an attack from a sandbox may not change: every stream keeps its form, every turn ends with a cause. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import type { Atoll } from './atoll.ts';

export type Done = { status: string; cause?: string; detail?: string };
export type Seen = { event: string; seq: number | undefined; data: string };

const FRAME = /^(?:id: (\d+)\n)?event: ([a-z]+)\ndata: ([^\r\n\0]+)$/;

/** Cuts a whole stream into events. Fails on a byte that is not of the form the server writes. */
export function eventsOf(bytes: Buffer): Seen[] {
  const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  const frames = text.split('\n\n');
  assert.equal(frames.pop(), '', 'the stream ends in the middle of a frame');
  return frames
    .filter((frame) => frame !== 'retry: 1000' && frame !== ': ping')
    .map((frame) => {
      const [, id, event = '', data = ''] = FRAME.exec(frame) ?? assert.fail(frame.slice(0, 200));
      return { seq: id === undefined ? undefined : Number(id), event, data };
    });
}

async function readStream(atoll: Atoll, method: string, path: string, body?: object): Promise<Seen[]> {
  const { hostname, port } = new URL(atoll.url);
  const headers = {
    authorization: `Bearer ${atoll.key}`,
    accept: 'text/event-stream',
    'content-type': 'application/json',
  };
  // A turn that does not end is what these tests look for.
  const signal = AbortSignal.timeout(60_000);
  const request = http.request({ hostname, port, method, path, headers, agent: false, signal });
  request.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  assert.equal(response.statusCode, 200);
  return eventsOf(Buffer.concat(await response.toArray()));
}

/** Sends a message and reads its turn to the end, byte by byte as it came. */
export async function turnOf(
  atoll: Atoll,
  sessionId: string,
  content: string,
): Promise<{ done: Done; seen: Seen[] }> {
  const seen = await readStream(atoll, 'POST', `/api/sessions/${sessionId}/messages`, { content });
  const ids = seen.flatMap(({ seq }) => seq ?? []);
  for (const [at, seq] of ids.entries()) assert.equal(seq, (ids[0] ?? 0) + at, 'seq is dense');
  const last = seen.at(-1);
  assert.equal(last?.event, 'done');
  return { done: JSON.parse(last?.data ?? ''), seen };
}

/** The whole log of a session that is over. */
export async function logOf(atoll: Atoll, sessionId: string): Promise<Seen[]> {
  return readStream(atoll, 'GET', `/api/sessions/${sessionId}/events`);
}

/** What the server's process has had resident at most. */
export async function peakBytes(atoll: Atoll): Promise<number> {
  const status = await readFile(`/proc/${atoll.pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) * 1024;
}

/**
 * In perl: prints where in the memory of every process it may read the mark stands that its first argument is, backwards:
 * the search itself must not hold what it looks for.
 */
export const searchMemory = `
my $mark = reverse shift;
for my $maps (glob "/proc/[0-9]*/maps") {
  my ($pid) = $maps =~ m{(\\d+)/maps}; next if $pid == $$;
  open(my $m, "<", $maps) or next; open(my $mem, "<:raw", "/proc/$pid/mem") or next;
  $read{$pid} = 1;
  while (<$m>) {
    next unless /^([0-9a-f]+)-([0-9a-f]+) r/; my ($from, $to) = (hex $1, hex $2);
    next if $to - $from > 64 << 20;
    sysseek($mem, $from, 0); sysread($mem, my $bytes, $to - $from) or next;
    print "found in $pid\\n" if index($bytes, $mark) >= 0;
  }
}
print "read ", scalar(keys %read), "\\n";`;

export function backwards(text: string): string {
  return [...text].reverse().join('');
}
