/** An editor for tests: the client side of ACP's own library, over real pipes to a real `atoll acp`. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import {
  type ClientCapabilities,
  type ClientContext,
  type CreateElicitationRequest,
  type CreateElicitationResponse,
  client,
  type InitializeResponse,
  ndJsonStream,
  PROTOCOL_VERSION,
  type PromptResponse,
  type RequestPermissionRequest,
  type RequestPermissionResponse,
  type SessionNotification,
  type SessionUpdate,
} from '@agentclientprotocol/sdk';

const MAIN = fileURLToPath(new URL('../packages/cli/src/main.mjs', import.meta.url));

export type Permit = (
  request: RequestPermissionRequest,
  signal: AbortSignal,
) => Promise<RequestPermissionResponse>;

export type Editor = {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly dataDir: string;
  readonly agent: ClientContext;
  readonly hello: InitializeResponse;
  /** Everything it was told, in order. */
  readonly told: readonly SessionNotification[];
  readonly permissions: readonly RequestPermissionRequest[];
  readonly stderr: string;
  /** All that came on its stdout, as lines. */
  readonly lines: readonly string[];
  updates(sessionId: string): SessionUpdate[];
  /** What the agent said, joined. */
  said(sessionId: string): string;
  open(): Promise<string>;
  prompt(sessionId: string, text: string): Promise<PromptResponse>;
  /** Closes its stdin and waits. */
  stop(): Promise<number | null>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type EditorOptions = {
  args?: readonly string[];
  env?: Record<string, string>;
  dataDir?: string;
  capabilities?: ClientCapabilities;
  permit?: Permit;
  elicit?: (request: CreateElicitationRequest) => Promise<CreateElicitationResponse>;
};

export const allow: Permit = async () => ({ outcome: { outcome: 'selected', optionId: 'allow' } });

export async function startEditor(options: EditorOptions = {}): Promise<Editor> {
  const { args = [], env = {}, permit = allow, elicit, capabilities = {} } = options;
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'atoll-editor-')));
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(process.execPath, [MAIN, 'acp', '--data-dir', dataDir, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH, HOME, TMPDIR: tmpdir(), ...env },
  });
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  const errors: string[] = [];
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
  const output: string[] = [];
  const copy = new PassThrough();
  child.stdout.on('data', (chunk: Buffer) => {
    output.push(chunk.toString('latin1'));
    copy.write(chunk);
  });
  child.stdout.on('end', () => copy.end());
  child.stdin.on('error', () => undefined);

  const told: SessionNotification[] = [];
  const permissions: RequestPermissionRequest[] = [];
  const app = client({ name: 'test-editor' })
    .onNotification('session/update', ({ params }) => void told.push(params))
    .onRequest('session/request_permission', ({ params, signal }) => {
      permissions.push(params);
      return permit(params, signal);
    });
  if (elicit) app.onRequest('elicitation/create', ({ params }) => elicit(params));
  const connection = app.connect(
    ndJsonStream(Writable.toWeb(child.stdin), Readable.toWeb(copy) as ReadableStream<Uint8Array>),
  );
  const { agent } = connection;
  const hello = await agent.request('initialize', {
    protocolVersion: PROTOCOL_VERSION,
    clientCapabilities: capabilities,
  });
  const updates = (id: string) =>
    told.filter(({ sessionId }) => sessionId === id).map(({ update }) => update);

  async function stop(): Promise<number | null> {
    child.stdin.end();
    return exited;
  }

  return {
    child,
    dataDir,
    agent,
    hello,
    told,
    permissions,
    updates,
    get stderr() {
      return errors.join('');
    },
    get lines() {
      return output.join('').split('\n').slice(0, -1);
    },
    said: (id) =>
      updates(id)
        .map((update) =>
          update.sessionUpdate === 'agent_message_chunk' && update.content.type === 'text'
            ? update.content.text
            : '',
        )
        .join(''),
    open: async () =>
      (await agent.request('session/new', { cwd: '/home/me/project', mcpServers: [] })).sessionId,
    prompt: (sessionId, text) =>
      agent.request('session/prompt', { sessionId, prompt: [{ type: 'text', text }] }),
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
      if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
    },
  };
}
