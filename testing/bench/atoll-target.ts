import { deploy, startAtoll } from '../atoll.ts';
import { startRunner } from '../runner-process.ts';
import { type Target, wantedTurn } from './target.ts';
import { AGENT, folderOf } from './target-agent.ts';

export type AtollTarget = Target & {
  readonly client: Awaited<ReturnType<typeof startAtoll>>['client'];
  readonly sessionIds: readonly string[];
  readonly dataDir: string;
  /** Opens another session of the benchmarks' agent; returns its id. */
  open(): Promise<string>;
};

export type AtollTargetOptions = {
  sessions: number;
  /** The sandboxes are those of a runner in a process of its own, over that link. */
  link?: 'http' | 'grpc';
};

/** A fresh server with its own data directory and this many open sessions, each of which has had a turn. */
export async function startAtollTarget({ sessions, link }: AtollTargetOptions): Promise<AtollTarget> {
  const port = link === 'grpc' ? ['--grpc-port', '0'] : [];
  const atoll = await startAtoll(link ? { args: ['--no-runner', ...port] } : {});
  const runner = link ? await startRunner(atoll, 'bench', { link }) : undefined;
  const { url, key, client, pid, dataDir } = atoll;
  const headers = { authorization: `Bearer ${key}` };
  const sessionIds: string[] = [];
  await deploy(client, AGENT, folderOf());

  async function open(): Promise<string> {
    const { session } = await client.call('session.create', { agent: AGENT });
    sessionIds.push(session.id);
    return session.id;
  }

  for (let i = 0; i < sessions; i++) await open();
  return {
    client,
    pid,
    sessionIds,
    dataDir,
    open,
    health: { url: `${url}/health`, method: 'GET', headers },
    turn: (session, content) =>
      wantedTurn(`${url}/api/sessions/${sessionIds[session]}/messages`, headers, content),
    async [Symbol.asyncDispose]() {
      await runner?.stop();
      await atoll[Symbol.asyncDispose]();
    },
  };
}
