/**
 * A runner over HTTP whose answers a test gives: it has no sandboxes, and remembers jobs by their ids, as runners do. What
 * it is asked for can be held back, and is done all the same when whoever asked is gone.
 */
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ErrorCode, errorRegistry } from '@atoll/protocol/errors';
import type { Atoll } from './atoll.ts';
import { createAsk, json } from './raw-http.ts';
import { registerMessage } from './stock-runner.ts';

export type Work = 'create' | 'snapshot' | 'delete' | 'inventory' | 'sweep';
type SteeredAnswer = { status: number; body: object };

export type SteeredRunner = AsyncDisposable & {
  /** As a new incarnation, at the server as it is now. Resolves with its registration. */
  register(atoll: Atoll, key: string): Promise<string>;
  /** From now on this is done when `release` is called. Resolves when it is asked for. */
  hold(work: Work): { asked: Promise<void>; release(): void };
  /** What is answered next instead of what was done, in order. */
  refuse(work: Work, code: ErrorCode): void;
  /** How often it was asked. */
  readonly asked: Readonly<Record<Work, number>>;
  /** Sandboxes that it made, with the root each began with, and the epoch that it is at. */
  readonly sandboxes: ReadonlyMap<string, { epoch: number; root: string | undefined }>;
};

/** What every snapshot of it is found from. */
export const STEERED_ROOT = 'ab'.repeat(32);

type Asked = { epoch?: number; sandbox?: { id: string; snapshot?: { root: string } } };

export async function startSteeredRunner(runnerId: string): Promise<SteeredRunner> {
  const asked: Record<Work, number> = { create: 0, snapshot: 0, delete: 0, inventory: 0, sweep: 0 };
  const sandboxes = new Map<string, { epoch: number; root: string | undefined }>();
  const held = new Map<Work, { asked: () => void; released: Promise<void> }>();
  const refusals: { work: Work; answer: SteeredAnswer }[] = [];

  async function answer(work: Work, sandboxId: string, said: Asked, epoch: number): Promise<SteeredAnswer> {
    asked[work]++;
    const gate = held.get(work);
    gate?.asked();
    await gate?.released;
    const refusal = refusals.findIndex((each) => each.work === work);
    const [refused] = refusal === -1 ? [] : refusals.splice(refusal, 1);
    return refused?.answer ?? done[work](sandboxId, said, epoch);
  }

  const done: Record<Work, (sandboxId: string, said: Asked, epoch: number) => SteeredAnswer> = {
    create(_id, { epoch = 0, sandbox }) {
      const id = sandbox?.id ?? '';
      sandboxes.set(id, { epoch, root: sandbox?.snapshot?.root });
      return { status: 201, body: { sandbox: { id, epoch, status: 'ready', lastLine: 0, commands: [] } } };
    },
    snapshot: () => ({
      status: 200,
      body: {
        ...{ root: STEERED_ROOT, files: 1, sizeBytes: 2, storedBytes: 3 },
        skipped: { count: 0, first: [] },
      },
    }),
    delete(id, _said, epoch) {
      if (epoch < (sandboxes.get(id)?.epoch ?? 0)) return problem('stale_epoch');
      sandboxes.delete(id);
      return { status: 200, body: {} };
    },
    inventory() {
      const all = [...sandboxes].map(([id, { epoch }]) => ({
        id,
        epoch,
        status: 'ready',
        lastLine: 0,
        commands: [],
      }));
      return { status: 200, body: { sandboxes: all } };
    },
    sweep: () => ({ status: 200, body: {} }),
  };

  const server = http.createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://runner');
    const [, , what, sandboxId = '', more] = pathname.split('/');
    void request.toArray().then(async (pieces) => {
      const said = JSON.parse(Buffer.concat(pieces).toString() || '{}') as Asked;
      const work = workOf(request.method ?? '', what, more);
      const { status, body } = await answer(work, sandboxId, said, Number(searchParams.get('epoch')));
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    asked,
    sandboxes,
    async register(atoll, key) {
      const { registrationId: _, ...said } = registerMessage(runnerId);
      const description = { ...said, address, capacity: 100 };
      const answered = await createAsk(atoll)('POST', '/api/internal/runners/register', {
        ...json(description),
        key,
      });
      if (answered.status !== 200) throw new Error(answered.text);
      return (JSON.parse(answered.text) as { registrationId: string }).registrationId;
    },
    hold(work) {
      const wanted = Promise.withResolvers<void>();
      const gate = Promise.withResolvers<void>();
      held.set(work, { asked: wanted.resolve, released: gate.promise });
      return {
        asked: wanted.promise,
        release() {
          held.delete(work);
          gate.resolve();
        },
      };
    },
    refuse: (work, code) => void refusals.push({ work, answer: problem(code) }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function workOf(method: string, what: string | undefined, more: string | undefined): Work {
  if (method === 'GET') return 'inventory';
  if (method === 'DELETE') return 'delete';
  if (what === 'sweep') return 'sweep';
  return more === 'snapshot' ? 'snapshot' : 'create';
}

function problem(code: ErrorCode): SteeredAnswer {
  const { status } = errorRegistry[code];
  const body = {
    type: `urn:atoll:error:${code}`,
    title: code,
    status,
    code,
    detail: 'As the test wants it.',
  };
  return { status, body };
}
