/** The process of simulated runners (see simulated-fleet.ts). */
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CoordinatorMessages } from '@atoll/protocol/grpc-messages';
import type { FleetReply, FleetRequest, FleetStart } from './simulated-fleet.ts';
import { type Incoming, registerMessage, StockRunner } from './stock-runner.ts';

type Held = {
  id: string;
  sessionId?: string;
  epoch: number;
  status: 'ready';
  lastLine: number;
  commands: string[];
};
type SimulatedRunner = {
  id: string;
  held: Map<string, Held>;
  /** Resolves when it is answered. */
  beat(): Promise<void>;
};

let runners: readonly SimulatedRunner[] = [];

process.on('message', (request: FleetStart | FleetRequest) => {
  answer(request).then(
    () => tell({ kind: 'done', held: Object.fromEntries(runners.map(({ id, held }) => [id, held.size])) }),
    (error: unknown) => tell({ kind: 'failed', detail: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));

const tell = (reply: FleetReply) => process.send?.(reply);

async function answer(request: FleetStart | FleetRequest): Promise<void> {
  if (!('kind' in request)) return start(request);
  if (request.kind === 'beat')
    for (let round = 0; round < request.rounds; round++) for (const runner of runners) await runner.beat();
}

async function start(options: FleetStart): Promise<void> {
  const names = (link: string, count: number) => Array.from({ length: count }, (_, i) => `${link}-${i}`);
  const listening = await listen();
  runners = await Promise.all([
    ...names('http', options.http).map((id) => startHttpRunner(id, options, listening)),
    ...names('grpc', options.grpc).map((id) => startGrpcRunner(id, options)),
  ]);
  const { heartbeatMs } = options;
  // Evenly over the time between two of one runner.
  if (heartbeatMs > 0)
    runners.forEach((runner, i) => {
      keepBeating(runner, (heartbeatMs * i) / runners.length, heartbeatMs);
    });
}

function keepBeating(runner: SimulatedRunner, firstMs: number, everyMs: number): void {
  setTimeout(() => {
    const beat = () => runner.beat().catch((error: unknown) => giveUp(runner.id, error));
    setInterval(beat, everyMs);
    void beat();
  }, firstMs);
}

/** Whoever measures would measure another fleet than it asked for. */
function giveUp(runnerId: string, error: unknown): never {
  process.stderr.write(`${runnerId}: ${error}\n`);
  process.exit(1);
}

// ---- Over HTTP: one server for all of them, each below a path of its own.

type Listening = { url: string; held: Map<string, Map<string, Held>> };

async function listen(): Promise<Listening> {
  const held: Listening['held'] = new Map();
  const server = http.createServer((request, response) => {
    serve(request, held).then(
      ({ status, body }) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(body));
      },
      (error: unknown) => response.destroy(error instanceof Error ? error : undefined),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, held };
}

async function serve(
  request: http.IncomingMessage,
  all: Listening['held'],
): Promise<{ status: number; body: object }> {
  const { pathname } = new URL(request.url ?? '', 'http://runner');
  const [, runnerId = '', , what, sandboxId = ''] = pathname.split('/');
  const held = all.get(runnerId);
  if (!held) return { status: 404, body: {} };
  const body = await bodyOf(request);
  if (request.method === 'GET') return { status: 200, body: { sandboxes: [...held.values()] } };
  if (request.method === 'DELETE') held.delete(sandboxId);
  else if (what === 'sandboxes') {
    const { epoch, sandbox } = body as { epoch: number; sandbox: { id: string; sessionId?: string } };
    const made = heldOf(sandbox.id, epoch, sandbox.sessionId);
    held.set(sandbox.id, made);
    return { status: 201, body: { sandbox: made } };
  }
  return { status: 200, body: {} };
}

async function bodyOf(message: http.IncomingMessage): Promise<unknown> {
  const text = Buffer.concat(await message.toArray()).toString();
  return text === '' ? {} : JSON.parse(text);
}

async function startHttpRunner(
  id: string,
  { url, key, capacity }: FleetStart,
  listening: Listening,
): Promise<SimulatedRunner> {
  const held = new Map<string, Held>();
  listening.held.set(id, held);
  const agent = new http.Agent({ keepAlive: true });

  async function post(path: string, body: object): Promise<Record<string, unknown>> {
    const request = http.request(`${url}/api/internal/runners/${path}`, {
      agent,
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    });
    request.end(JSON.stringify(body));
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const said = (await bodyOf(response)) as Record<string, unknown>;
    if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode} ${said.detail}`);
    return said;
  }

  const { registrationId: _, ...description } = registerMessage(id);
  const address = `${listening.url}/${id}`;
  const { registrationId } = await post('register', { ...description, capacity, address });
  return { id, held, beat: async () => void (await post('heartbeat', { runnerId: id, registrationId })) };
}

// ---- By gRPC: a connection of its own for each.

async function startGrpcRunner(id: string, { grpcUrl, key, capacity }: FleetStart): Promise<SimulatedRunner> {
  const held = new Map<string, Held>();
  const runner = new StockRunner(grpcUrl, key);
  void runner.ended.then((error) => giveUp(id, error ?? 'the coordinator closed the stream'));
  runner.call.on('data', ({ job }: Incoming) => job && doJob(job));

  function doJob({ type, jobId, epoch, sandboxId, sandbox }: CoordinatorMessages['job']): void {
    if (type === 'create') held.set(sandboxId, heldOf(sandboxId, epoch, sandbox?.sessionId));
    if (type === 'delete') held.delete(sandboxId);
    runner.say({ jobUpdate: { jobId, epoch, sandboxId, status: 'completed' } });
  }

  const { registrationId } = await runner.register(id, { capacity });
  runner.say({ inventory: { sandboxes: [...held.values()] } });
  return {
    id,
    held,
    async beat() {
      runner.say({ heartbeat: { registrationId, ended: [] } });
      await runner.next('leaseRenewed');
    },
  };
}

function heldOf(id: string, epoch: number, sessionId: string | undefined): Held {
  return {
    id,
    epoch,
    status: 'ready',
    lastLine: 0,
    commands: [],
    ...(sessionId === undefined ? {} : { sessionId }),
  };
}
