/**
 * What every link to a runner does, with real sandboxes behind it. A link to another process may be cut and lost, too:
 * then `cut` breaks all its connections, and `lose` is what the coordinator does when the runner's lease is over.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type {
  CommandEnd,
  CommandEvent,
  CreateSandbox,
  Messages,
  RunnerLink,
  SandboxEnded,
} from '@atoll/protocol/runner-link';

export type OpenLink = AsyncDisposable & {
  link: RunnerLink;
  /** Sandboxes that ended without being asked to, as the coordinator hears of them. */
  ended(): Promise<readonly SandboxEnded[]>;
  remote?: { cut(): void; lose(): void };
};

/** Says what its message asks for: `{n, size}` messages, an approval, or nothing until it is interrupted. */
const AGENT = `
import { createInterface } from 'node:readline';
import { appendFileSync } from 'node:fs';
for await (const line of createInterface({ input: process.stdin })) {
  const { turnId, content } = JSON.parse(line);
  if (content === 'wait') { console.log('{"type":"waiting"}'); await new Promise(() => setInterval(() => {}, 1000)); }
  const { n = 1, size = 10, pauseMs = 0 } = JSON.parse(content);
  const text = 'x'.repeat(size);
  for (let i = 0; i < n; i++) {
    if (size > 100_000) appendFileSync('written', '.');
    if (!process.stdout.write(JSON.stringify({ type: 'said', i, text }) + '\\n'))
      await new Promise((resolve) => process.stdout.once('drain', resolve));
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  process.stdout.write('{"type":"result"}\\n');
}
`;

/** It is started with the sandbox, and may be quicker than what writes its file. */
const WHEN_WRITTEN = 'until [ -e agent.mjs ]; do sleep 0.01; done; exec node agent.mjs';

export function runnerLinkContract(name: string, open: () => Promise<OpenLink>): void {
  describe(`${name} link`, { timeout: 120_000 }, () => {
    let bench: OpenLink;
    let link: RunnerLink;
    let made = 0;
    before(async () => {
      bench = await open();
      link = bench.link;
    });
    after(() => bench[Symbol.asyncDispose]());

    function creation(id: number, sandbox: Partial<CreateSandbox['sandbox']> = {}, epoch = 1): CreateSandbox {
      return {
        jobId: `job_${id}e${epoch}`,
        epoch,
        sandbox: {
          id: `sbx_${id}e${epoch}`,
          tenant: 't',
          workspaceId: `ses_${id}`,
          sessionId: `ses_${id}`,
          fresh: true,
          executor: { profile: 'program', command: ['sh', '-c', WHEN_WRITTEN] },
          env: {},
          ...sandbox,
        },
      };
    }

    /** A sandbox with the agent in it. */
    async function sandbox(): Promise<{ id: string; workspaceId: string }> {
      const request = creation(++made);
      await link.createSandbox(request);
      const { id, workspaceId } = request.sandbox;
      await link.files.write({ workspaceId, path: 'agent.mjs', content: bytes(AGENT) });
      return { id, workspaceId };
    }

    let turns = 0;
    function query(sandboxId: string, content: object | string, epoch = 1) {
      const turnId = `turn_${++turns}`;
      const text = typeof content === 'string' ? content : JSON.stringify(content);
      const command = { method: 'query', params: { turnId, content: text, options: {} } } as const;
      return { commandId: turnId, events: link.command({ sandboxId, epoch, commandId: turnId, command }) };
    }

    /** All that a query says; what was taken is acknowledged. */
    async function said(
      sandboxId: string,
      content: object,
    ): Promise<{ messages: string[]; end: CommandEnd }> {
      const { commandId, events } = query(sandboxId, content);
      const messages: string[] = [];
      for await (const event of events) {
        link.acknowledge({ sandboxId, epoch: 1, commandId, line: event.line });
        if (event.kind === 'end') return { messages, end: event };
        if (event.kind === 'messages') messages.push(...textsOf(event.messages));
      }
      assert.fail('a command ended without its end');
    }

    function exec(sandboxId: string, command: string): AsyncIterable<CommandEvent> {
      const commandId = `cmd_${++turns}`;
      return link.command({
        sandboxId,
        epoch: 1,
        commandId,
        command: { method: 'exec', params: { command } },
      });
    }

    const remove = ({ id, workspaceId }: { id: string; workspaceId: string }, epoch = 1) =>
      link.deleteSandbox({ sandboxId: id, workspaceId, epoch, cause: 'ended', keep: false });

    test('a sandbox is made once for a job, runs commands, and is gone when it is deleted', async () => {
      const own = await sandbox();
      await link.createSandbox(creation(made));
      const { text, end } = await outputOf(exec(own.id, 'echo out; exit 3'));
      assert.equal(text, 'out\n');
      assert.deepEqual([end.status, end.exitCode], ['completed', 3]);
      await remove(own);
      await remove(own);
      await assert.rejects(async () => Array.fromAsync(query(own.id, {}).events), { code: 'sandbox_failed' });
    });

    test('messages come in order, whole and as they were written', async () => {
      const own = await sandbox();
      const { messages, end } = await said(own.id, { n: 5000, size: 200 });
      assert.equal(end.status, 'completed');
      assert.deepEqual(
        messages.map((message, i) => JSON.parse(message).i ?? i),
        Array.from({ length: 5001 }, (_, i) => i),
      );
      const large = await said(own.id, { n: 2, size: 3_000_000 });
      assert.deepEqual(
        large.messages.map(({ length }) => length > 3_000_000),
        [true, true, false],
      );
      await remove(own);
    });

    test('lines rise over all commands of a sandbox, by one for each message', async () => {
      const own = await sandbox();
      const lines: number[] = [];
      for (let turn = 0; turn < 2; turn++)
        for await (const event of query(own.id, { n: 3 }).events) {
          const count = event.kind === 'messages' ? event.messages.spans.length / 2 : 1;
          for (let i = count - 1; i >= 0; i--) lines.push(event.line - i);
        }
      assert.deepEqual(
        lines,
        Array.from({ length: 10 }, (_, i) => i + 1),
      );
      await remove(own);
    });

    test('what nobody takes, the executor does not write', async () => {
      const own = await sandbox();
      const { commandId, events } = query(own.id, { n: 200, size: 1_000_000 });
      const reader = events[Symbol.asyncIterator]();
      const first = await reader.next();
      const written = async () => {
        const { content } = await link.files.read({ workspaceId: own.workspaceId, path: 'written' });
        return Buffer.concat(await Array.fromAsync(content)).length;
      };
      let seen = -1;
      for (let now = await written(); now !== seen; now = await written()) {
        seen = now;
        await delay(500);
      }
      assert.ok(seen > 0 && seen < 100, `${seen} messages`);
      let count = first.value.kind === 'messages' ? first.value.messages.spans.length / 2 : 0;
      for (let next = await reader.next(); !next.done; next = await reader.next()) {
        const event: CommandEvent = next.value;
        if (event.kind === 'messages') count += event.messages.spans.length / 2;
        link.acknowledge({ sandboxId: own.id, epoch: 1, commandId, line: event.line });
      }
      assert.equal(count, 201);
      await remove(own);
    });

    test('a command is cancelled, and still ends with its end', async () => {
      const own = await sandbox();
      const { commandId, events } = query(own.id, 'wait');
      let end: CommandEnd | undefined;
      for await (const event of events) {
        if (event.kind === 'messages') await link.cancel({ sandboxId: own.id, epoch: 1, commandId });
        if (event.kind === 'end') end = event;
      }
      assert.equal(end?.status, 'interrupted', end?.detail);
      await remove(own);
    });

    test('files go both ways, whole and in pieces, and are listed and removed', async () => {
      const { id, workspaceId } = await sandbox();
      const content = Buffer.alloc(5_000_000, 'abcdefghij');
      const path = 'deep/in here/größe.bin';
      const pieces = async function* () {
        for (let at = 0; at < content.length; at += 70_000) yield content.subarray(at, at + 70_000);
      };
      const first = await link.files.write({ workspaceId, path, content: pieces() });
      assert.deepEqual(first, { sizeBytes: content.length, created: true });
      const whole = await link.files.read({ workspaceId, path });
      assert.equal(whole.sizeBytes, content.length);
      assert.ok(Buffer.concat(await Array.fromAsync(whole.content)).equals(content));
      const piece = await link.files.read({ workspaceId, path, range: { offset: 4_999_998, length: 100 } });
      assert.deepEqual([piece.sizeBytes, piece.contentBytes], [content.length, 2]);
      assert.equal(Buffer.concat(await Array.fromAsync(piece.content)).toString(), 'ij');
      const { files, nextCursor } = await link.files.list({ workspaceId, prefix: 'deep', limit: 10 });
      assert.deepEqual([files.at(-1)?.path, nextCursor], [path, null]);
      await link.files.remove({ workspaceId, path: 'deep' });
      await assert.rejects(link.files.read({ workspaceId, path }), { code: 'not_found' });
      await remove({ id, workspaceId });
    });

    test('a snapshot is taken, and restored where the files are gone', async () => {
      const own = await sandbox();
      await link.files.write({ workspaceId: own.workspaceId, path: 'kept', content: bytes('as it was') });
      const of = { workspaceId: own.workspaceId, tenant: 't', epoch: 1 };
      const taken = await link.snapshot({ ...of, base: null });
      assert.equal((await link.snapshot({ ...of, base: taken.root })).root, taken.root);
      await link.files.write({ workspaceId: own.workspaceId, path: 'passing', content: bytes('by') });
      const look = await link.snapshot({ ...of, base: taken.root, passing: true });
      assert.deepEqual([look.root === taken.root, look.files], [false, taken.files + 1]);
      // Where it was forgotten, only what differs from the one before it is stored, again and again.
      const next = await link.snapshot({ ...of, base: taken.root, passing: true });
      assert.deepEqual([next.root, next.storedBytes], [look.root, look.storedBytes]);
      await link.files.remove({ workspaceId: own.workspaceId, path: 'passing' });
      await remove(own);
      const again = creation(made, { fresh: false, snapshot: { root: taken.root, epoch: 1 } }, 2);
      await link.createSandbox(again);
      const read = await link.files.read({ workspaceId: own.workspaceId, path: 'kept' });
      assert.equal(Buffer.concat(await Array.fromAsync(read.content)).toString(), 'as it was');
      await assert.rejects(link.snapshot({ ...of, base: null }), { code: 'stale_epoch' });
      await remove({ id: again.sandbox.id, workspaceId: own.workspaceId }, 2);
      await link.restore({ ...of, epoch: 2, root: taken.root });
      const { files } = await link.files.list({ workspaceId: own.workspaceId, limit: 10 });
      assert.deepEqual(files.map(({ path }) => path).sort(), ['agent.mjs', 'kept']);
      await link.sweep({ keep: [] });
      await assert.rejects(link.files.list({ workspaceId: own.workspaceId, limit: 10 }), {
        code: 'sandbox_failed',
      });
    });

    test('an older epoch is refused', async () => {
      const request = creation(++made, {}, 5);
      await link.createSandbox(request);
      const { id, workspaceId } = request.sandbox;
      await assert.rejects(async () => Array.fromAsync(query(id, {}, 4).events), { code: 'stale_epoch' });
      const late = { sandboxId: id, epoch: 4, commandId: 'turn_x' };
      await assert.rejects(link.cancel(late), { code: 'stale_epoch' });
      await assert.rejects(remove({ id, workspaceId }, 4), { code: 'stale_epoch' });
      await remove({ id, workspaceId }, 5);
    });

    test('a sandbox that ends without being asked to ends its command, and is told', async () => {
      const own = await sandbox();
      const { events } = query(own.id, 'wait');
      let end: CommandEnd | undefined;
      for await (const event of events) {
        if (event.kind === 'messages')
          void Array.fromAsync(exec(own.id, 'kill -9 -1')).catch(() => undefined);
        if (event.kind === 'end') end = event;
      }
      assert.deepEqual([end?.status, end?.sandboxEnded], ['failed', true]);
      const told = async () => (await bench.ended()).filter(({ sandboxId }) => sandboxId === own.id);
      for (let tries = 0; tries < 100 && (await told()).length === 0; tries++) await delay(50);
      assert.deepEqual(
        (await told()).map(({ epoch }) => epoch),
        [1],
      );
      await remove(own);
    });

    test('cut again and again in the middle of a turn: no event is lost or doubled', async (t) => {
      const { remote } = bench;
      if (!remote) return t.skip('it cannot be cut');
      const own = await sandbox();
      const { commandId, events } = query(own.id, { n: 3000, size: 5000 });
      const lines: number[] = [];
      const hash = createHash('sha256');
      let cuts = 0;
      for await (const event of events) {
        if (event.kind !== 'messages') continue;
        const { bytes: from, spans } = event.messages;
        const count = spans.length / 2;
        for (let i = 0; i < count; i++) {
          lines.push(event.line - count + 1 + i);
          hash.update(from.subarray(spans[2 * i], spans[2 * i + 1]));
        }
        if (lines.length > 250 * (cuts + 1)) {
          cuts++;
          remote.cut();
        }
        link.acknowledge({ sandboxId: own.id, epoch: 1, commandId, line: event.line - 1 });
      }
      assert.ok(cuts >= 5, `${cuts} cuts`);
      assert.deepEqual(
        lines,
        Array.from({ length: 3001 }, (_, i) => i + 1),
      );
      const expected = createHash('sha256');
      const text = 'x'.repeat(5000);
      for (let i = 0; i < 3000; i++) expected.update(JSON.stringify({ type: 'said', i, text }));
      assert.equal(hash.digest('hex'), expected.update('{"type":"result"}').digest('hex'));
      await remove(own);
    });

    test('when the lease is over, what waits ends with runner_lost, and what comes later is refused', async (t) => {
      const { remote } = bench;
      if (!remote) return t.skip('it has no lease');
      const own = await sandbox();
      const { events } = query(own.id, 'wait');
      let end: CommandEnd | undefined;
      for await (const event of events) {
        if (event.kind === 'messages') remote.lose();
        if (event.kind === 'end') end = event;
      }
      assert.deepEqual([end?.status, end?.cause], ['interrupted', 'runner_lost']);
      await assert.rejects(link.createSandbox(creation(++made)), { code: 'runner_lost' });
      await remove(own);
    });
  });
}

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

function textsOf({ bytes: from, spans }: Messages): string[] {
  return Array.from({ length: spans.length / 2 }, (_, i) =>
    Buffer.from(from.subarray(spans[2 * i], spans[2 * i + 1])).toString(),
  );
}

async function outputOf(events: AsyncIterable<CommandEvent>): Promise<{ text: string; end: CommandEnd }> {
  let text = '';
  for await (const event of events) {
    if (event.kind === 'output') text += event.text;
    if (event.kind === 'end') return { text, end: event };
  }
  assert.fail('a command ended without its end');
}
