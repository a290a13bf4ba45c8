/**
 * The line commands of hosts from before JSON-RPC: `ping` → `pong`, `state_at {json}` → one line of JSON, what goes wrong →
 * `{"error": …}`. They have no ids, so they are answered one after another. Gone in 2.0.
 */
import { AtollError } from '@atoll/protocol/errors';
import { RpcError, rpcCodes } from '@atoll/protocol/json-rpc';
import { parseJsonBody } from '../routes/json-body.ts';

export type LegacyLines = {
  /** Whether the line is such a command, and was taken. */
  take(line: Buffer): boolean;
  /** Resolves when all are answered. */
  readonly answered: Promise<void>;
};

export function createLegacyLines(options: {
  call: (method: string, params: Record<string, unknown>) => Promise<unknown>;
  send: (bytes: Uint8Array) => Promise<void>;
}): LegacyLines {
  const { call, send } = options;
  let answered = Promise.resolve();

  async function answer(line: string): Promise<string> {
    const [command = '', rest] = line.split(/ (.*)/s, 2);
    try {
      if (command === 'ping') return String(await call('ping', {}));
      if (command === 'state_at') return JSON.stringify(await call('state_at', paramsOf(rest)));
      throw new RpcError(rpcCodes.methodNotFound, `no command ${command.slice(0, 100)}`);
    } catch (error) {
      return JSON.stringify({ error: error instanceof Error ? error.message : 'internal error' });
    }
  }

  return {
    take(line) {
      // No JSON-RPC begins with a letter.
      if (!/^[a-z]/.test(line.toString('latin1', 0, 1))) return false;
      const text = line.toString().trimEnd();
      answered = answered.then(async () => send(Buffer.from(`${await answer(text)}\n`)));
      return true;
    },
    get answered() {
      return answered;
    },
  };
}

function paramsOf(text = '{}'): Record<string, unknown> {
  const value = parseJsonBody(Buffer.from(text));
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new AtollError('invalid_request', 'state_at takes one JSON object');
  return { ...value };
}
