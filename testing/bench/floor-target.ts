import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Target, type Wanted, wantedTurn } from './target.ts';

export type FloorTarget = Target & {
  readonly reply: Wanted;
  /** A turn with an fdatasync before it and one before its end. */
  durableTurn(session: number, content: string): Wanted;
};

const SERVER = fileURLToPath(new URL('bare-server.ts', import.meta.url));
const PROGRAM = fileURLToPath(new URL('program.mjs', import.meta.url));

/** The bare pass-through with this many agents: server, bridges and agents in processes of their own, as with Atoll. */
export async function startFloorTarget({ sessions }: { sessions: number }): Promise<FloorTarget> {
  const child = spawn(process.execPath, [SERVER, PROGRAM, String(sessions)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const url = line.toString().trim();
  return {
    pid: child.pid ?? 0,
    health: { url: `${url}/health`, method: 'GET', headers: {} },
    reply: wantedTurn(`${url}/reply`, {}, 'hello'),
    durableTurn: (session, content) => wantedTurn(`${url}/durable/${session}/messages`, {}, content),
    turn: (session, content) => wantedTurn(`${url}/sessions/${session}/messages`, {}, content),
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  };
}
