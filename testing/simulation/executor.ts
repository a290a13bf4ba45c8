/**
 * What runs in a simulated sandbox: a bridge and its executor in one, that does what a message tells it to. It speaks the
 * bridge's lines, numbers what it says, and never says the same twice.
 */
import type { Agenda, Life } from './agenda.ts';
import type { Chance } from './chance.ts';
import type { Assignment, Happening } from './trace.ts';

/** What a message tells an executor to do; `id` makes each another text. */
export type Script = {
  id: string;
  says: number;
  /** Milliseconds between two messages, about. */
  pace: number;
  /** Asks for an approval after the first message. */
  asks: boolean;
  /** `hangs`: not before somebody interrupts it. `deaf`: not even then. */
  ends: 'completed' | 'failed' | 'dies' | 'hangs' | 'deaf';
};

export type ExecutorOptions = {
  of: Assignment;
  life: Life;
  agenda: Agenda;
  chance: Chance;
  tell(happening: Happening): void;
  /** Writes a line to the runner; false while it takes no more. */
  write(line: string): boolean;
  /** When the runner takes more. */
  room(): Promise<void>;
  /** Whether its gateway lets pass what it does. */
  mayAct(): boolean;
  /** The whole sandbox ends. */
  die(): void;
};

type Turn = { id: string; said: number; over: boolean; wake: () => void };

export type Executor = { receive(line: string): void };

export function createExecutor(options: ExecutorOptions): Executor {
  const { of, life, agenda, chance, tell } = options;
  const decided = new Map<number, () => void>();
  let turn: Turn | undefined;
  let asked = 0;
  let conversation = `conversation-${of.sandbox}`;

  const send = (message: object) => options.write(JSON.stringify({ jsonrpc: '2.0', ...message }));
  const answer = (id: number, result: object) => void send({ id, result });

  function pause(ms: number, of: Turn): Promise<void> {
    return new Promise((resolve) => {
      const cancel = agenda.after(ms, life, resolve);
      of.wake = () => {
        cancel();
        resolve();
      };
    });
  }

  async function say(running: Turn): Promise<void> {
    const n = ++running.said;
    const data = JSON.stringify({ type: 'assistant', turn: running.id, sandbox: of.sandbox, n });
    tell({ kind: 'said', of, turn: running.id, n, data });
    if (!options.write(`{"jsonrpc":"2.0","method":"message","params":${data}}`)) await options.room();
    if (options.mayAct()) tell({ kind: 'acted', of, turn: running.id });
  }

  async function ask(running: Turn): Promise<void> {
    const id = ++asked;
    const { promise, resolve } = Promise.withResolvers<void>();
    decided.set(id, resolve);
    const input = { n: running.said, of: running.id };
    const params = { turnId: running.id, kind: 'tool', tool: 'Act', input, options: ['allow', 'deny'] };
    send({ id, method: 'approval.request', params });
    running.wake = resolve;
    await promise;
  }

  async function run(id: number, running: Turn, script: Script): Promise<void> {
    const { says, pace, asks, ends } = script;
    const goesOn = () => !running.over || ends === 'deaf';
    for (let i = 0; i < says && goesOn(); i++) {
      await pause(chance.between(0, 2 * pace), running);
      if (goesOn()) await say(running);
      if (asks && i === 0 && goesOn()) await ask(running);
    }
    if (ends === 'dies' && !running.over) return options.die();
    while ((ends === 'hangs' || ends === 'deaf') && goesOn()) await pause(60_000, running);
    const status = running.over ? 'interrupted' : ends === 'failed' ? 'failed' : 'completed';
    tell({ kind: 'finished', of, turn: running.id, status, said: running.said });
    turn = undefined;
    const why = { cause: status, detail: `The script says so: ${status}.` };
    const usage = { inputTokens: 1, outputTokens: running.said, turns: 1 };
    answer(id, { status, ...(status === 'completed' ? {} : why), executorSessionId: conversation, usage });
  }

  function begin(id: number, { turnId, content }: { turnId: string; content: string }): void {
    tell({ kind: 'given', of, turn: turnId, content });
    const running: Turn = { id: turnId, said: 0, over: false, wake: () => undefined };
    turn = running;
    void run(id, running, JSON.parse(content) as Script);
  }

  return {
    receive(line) {
      const message = JSON.parse(line) as { id: number; method?: string; params: Record<string, string> };
      const { id, method, params } = message;
      if (method === undefined) return decided.get(id)?.();
      if (method === 'query') return begin(id, params as { turnId: string; content: string });
      if (method === 'interrupt' && turn && turn.id === params.turnId) {
        turn.over = true;
        turn.wake();
      }
      if (method === 'resume') conversation = params.executorSessionId ?? conversation;
      if (method === 'initialize') {
        agenda.after(chance.between(1, 60), life, () => answer(id, { protocolVersion: 1 }));
        return;
      }
      answer(id, method === 'exec' ? { exitCode: 0, timedOut: false } : {});
    },
  };
}
