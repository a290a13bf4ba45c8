/** For tests: a real bridge process on a real socketpair, and the runner's side of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createPeer, type Handler, type Peer } from '@atoll/protocol/json-rpc';
import { createLineBlocks, linesOf } from '@atoll/protocol/lines';
import { MESSAGE_PREFIX } from '@atoll/protocol/message-line';
import type { ExecutorSettings } from '@atoll/protocol/runner-link';
import type { TurnEnd } from './executor.ts';

export const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

export type Message = Record<string, unknown>;

export type BridgeUnderTest = {
  readonly child: ChildProcess;
  readonly socket: Socket;
  readonly peer: Peer;
  readonly workspace: string;
  /** Every message so far, parsed. */
  readonly messages: Message[];
  /** Everything logged so far. */
  readonly logs: string[];
  /** What each exec wrote so far. */
  readonly output: { execId: string; stream: string; text: string }[];
  initialize(executor: ExecutorSettings): Promise<unknown>;
  query(content: unknown, options?: Record<string, unknown>, turnId?: string): Promise<TurnEnd>;
  /** Settles when `found` gives something for what has arrived. */
  until<T>(found: () => T | undefined | false): Promise<T>;
  /** Closes fd 3 and waits for the process to end. */
  end(): Promise<void>;
} & AsyncDisposable;

export type BridgeUnderTestOptions = {
  env?: Record<string, string>;
  workspace?: string;
  /** Takes the bytes of messages instead of parsing them. */
  onBlock?: (block: Uint8Array) => void;
  /** Decides as the runner would. */
  decide?: (request: Record<string, unknown>) => Promise<unknown>;
};

export async function startBridgeUnderTest(options: BridgeUnderTestOptions = {}): Promise<BridgeUnderTest> {
  const own = options.workspace === undefined ? mkdtempSync(join(tmpdir(), 'atoll-bridge-')) : undefined;
  const workspace = options.workspace ?? own ?? '';
  const env = { PATH: process.env.PATH, HOME: workspace, ...options.env };
  const child = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
  const socket = child.stdio[3] as Socket;
  // The bridge may be gone before we are: an error here is its end, which `child` tells.
  socket.on('error', () => undefined);
  const channel = {
    send: (text: string) => new Promise<void>((resolve) => socket.write(`${text}\n`, () => resolve())),
  };
  const arrived = createArrivals();
  const { decide } = options;
  const handlers: Record<string, Handler> = decide ? { 'approval.request': decide } : {};
  const peer = createPeer({ channel, handlers, onNotification: arrived.take });
  receiveFrom(socket, peer, arrived, options.onBlock);
  child.once('exit', () => peer.close(new Error('the bridge ended')));
  const end = async () => {
    socket.destroy();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    if (own) rmSync(own, { recursive: true, force: true });
  };
  let turns = 0;
  return {
    child,
    socket,
    peer,
    workspace,
    messages: arrived.messages,
    logs: arrived.logs,
    output: arrived.output,
    until: arrived.until,
    initialize: (executor) => peer.call('initialize', { protocolVersion: 1, executor, workspace, env: {} }),
    query: (content, queryOptions = {}, turnId = `turn-${++turns}`) =>
      peer.call('query', { turnId, content, options: queryOptions }) as Promise<TurnEnd>,
    end,
    [Symbol.asyncDispose]: end,
  };
}

type Arrivals = ReturnType<typeof createArrivals>;

function createArrivals() {
  const messages: Message[] = [];
  const logs: string[] = [];
  const output: { execId: string; stream: string; text: string }[] = [];
  const waiting = new Set<() => void>();
  const changed = () => {
    for (const check of waiting) check();
  };
  return {
    messages,
    logs,
    output,
    changed,
    take(method: string, params: Record<string, unknown>) {
      if (method === 'message') messages.push(params);
      if (method === 'log') logs.push(String(params.text));
      if (method === 'exec.output') output.push(params as { execId: string; stream: string; text: string });
      changed();
    },
    until<T>(found: () => T | undefined | false): Promise<T> {
      return new Promise((resolve) => {
        const check = () => {
          const value = found();
          if (value === undefined || value === false) return;
          waiting.delete(check);
          resolve(value);
        };
        waiting.add(check);
        check();
      });
    },
  };
}

function receiveFrom(
  socket: Socket,
  peer: Peer,
  arrived: Arrivals,
  onBlock?: (block: Uint8Array) => void,
): void {
  const blocks = createLineBlocks(64 * 1024 * 1024);
  const prefix = Buffer.from(MESSAGE_PREFIX);
  socket.on('data', (chunk: Buffer) => {
    for (const block of blocks.push(chunk)) {
      onBlock?.(block);
      for (const line of linesOf(block)) {
        const isMessage = prefix.equals(line.subarray(0, prefix.length));
        if (onBlock && isMessage) continue;
        peer.receive(JSON.parse(Buffer.from(line).toString()));
      }
    }
    arrived.changed();
  });
}
