/**
 * One process of `codex app-server`: JSON-RPC over its lines, its notifications as messages. What is asked of it is
 * `codex-thread.ts`'s business.
 */
import { createPeer, type Handler, type Peer } from '@atoll/protocol/json-rpc';
import { linesOf } from '@atoll/protocol/lines';
import type { ExecutorContext, TurnEnd } from '../executor.ts';
import { isRecord } from '../params.ts';
import { within } from '../timers.ts';
import { readLine } from './codex-lines.ts';
import type { TurnOutput } from './codex-output.ts';
import { LineProcess } from './line-process.ts';
import { problemOf } from './program-lines.ts';

/** For an answer to what takes no thinking. */
const ANSWER_MS = 60_000;

export type CodexServerOptions = {
  command: readonly string[];
  context: ExecutorContext;
  output: TurnOutput;
  /** Codex's requests. Their params get the request's own id as `requestId`. */
  handlers: Readonly<Record<string, Handler>>;
  onWatched(method: string, params: Record<string, unknown>): void;
};

export class CodexServer {
  readonly #options: CodexServerOptions;
  readonly #process: LineProcess;
  readonly #peer: Peer;
  readonly #failure = Promise.withResolvers<TurnEnd>();

  constructor(options: CodexServerOptions) {
    this.#options = options;
    const { command, context, handlers } = options;
    this.#process = new LineProcess({
      name: 'Codex',
      command,
      context,
      onBlock: (block) => this.#take(block),
      onEnd: (failure) => {
        this.#failure.resolve({ status: 'failed', ...failure });
        this.#peer.close(new Error(failure.detail));
      },
    });
    const channel = { send: async (text: string) => this.#process.write(text) };
    this.#peer = createPeer({ channel, handlers });
  }

  get alive(): boolean {
    return this.#process.alive;
  }

  /** What a turn ends with when the process ended. Settles when it has, and all it said was read. */
  get failure(): Promise<TurnEnd> {
    return this.#failure.promise;
  }

  /** Rejects with what Codex has against it, or when it does not answer; then it is ended. */
  async call(method: string, params: Record<string, unknown>): Promise<Record<string, unknown>> {
    const answer = await within(this.#options.context.timers, ANSWER_MS, this.#peer.call(method, params));
    if (isRecord(answer)) return answer;
    const what = `did not answer ${method} within ${ANSWER_MS / 1000} s`;
    this.#process.refuse(what);
    throw new Error(`Codex ${what}`);
  }

  notify(method: string): void {
    // A process that ended tells so itself.
    this.#peer.notify(method, {}).catch(() => undefined);
  }

  kill(): void {
    this.#process.kill();
  }

  stop(): Promise<void> {
    return this.#process.stop();
  }

  #take(block: Buffer): void {
    const { output, onWatched } = this.#options;
    const problem = problemOf(block);
    if (problem !== undefined) return this.#refuse(problem);
    let lines = '';
    for (const line of linesOf(block)) {
      const bytes = Buffer.from(line.buffer, line.byteOffset, line.length);
      const read = readLine(bytes);
      if (read.kind === 'garbage') {
        this.#write(lines);
        return this.#refuse('a line that is not JSON-RPC');
      }
      if (read.kind === 'rpc') this.#receive(read.message);
      else lines += output.frame(read.method, bytes.toString('latin1'));
      if (read.kind !== 'watched') continue;
      // A turn that ends here takes with it what was said before.
      this.#write(lines);
      lines = '';
      onWatched(read.method, read.params);
    }
    this.#write(lines);
  }

  #receive({ id, params, ...rest }: Record<string, unknown>): void {
    const named = isRecord(params) ? { params: { ...params, requestId: id } } : {};
    try {
      this.#peer.receive({ jsonrpc: '2.0', id, ...named, ...rest });
    } catch {
      // What the peer refuses has no form that the protocol knows.
      this.#refuse('a line that is not JSON-RPC');
    }
  }

  #write(lines: string): void {
    const wait = lines === '' ? undefined : this.#options.output.write(lines);
    if (wait) this.#process.pauseUntil(wait);
  }

  #refuse(what: string): void {
    this.#process.refuse(`wrote ${what} to its stdout`);
  }
}
