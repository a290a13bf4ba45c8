/**
 * In the place of the way to the coordinator: checks what an executor says on its own three routes, answers as the
 * coordinator would, and tells somebody what it would have sent. There is no session behind it, and nothing is kept.
 */
import type { IncomingMessage } from 'node:http';
import { AtollError, asAtollError } from '@atoll/protocol/errors';
import { mergePatch } from '@atoll/protocol/merge-patch';
import type { OperationResult } from '@atoll/protocol/operations';
import { maxMetadataBytes } from '@atoll/protocol/schemas/session';
import { type Call, type Row, refuse } from './call.ts';
import { executorRoutes, isExecutorRoute, type Owned, readSaid, reportOf } from './executor-routes.ts';

/** One call, as it came and as it would have gone on. */
export type RecordedCall = {
  method: string;
  path: string;
  /** What was answered. */
  status: number;
  forwarded?: { method: string; path: string; body: Record<string, unknown> };
  error?: { code: string; detail: string };
};

type Session = OperationResult<'session.show'>['session'];
type Answer = { status: number; body: unknown; forwarded: NonNullable<RecordedCall['forwarded']> };

export function createStubRow(options: {
  /** Without it, the first one that is named. */
  sessionId: string | undefined;
  owned: Owned;
  onCall: (call: RecordedCall) => void;
  now: () => number;
}): Row {
  const { owned, onCall, now } = options;
  let { sessionId } = options;
  let metadata: Session['metadata'] = {};
  let binding: Session['binding'] = {
    executorSessionId: null,
    projectDir: null,
    hostname: null,
    executorProfile: null,
  };
  let seq = 0;

  /** Rejects with what it is refused for. */
  async function answerTo(request: IncomingMessage, path: string): Promise<Answer> {
    if (!isExecutorRoute(path))
      throw new AtollError('unknown_route', 'a stub has the executor’s own routes only');
    const { rest } = executorRoutes[path];
    if (request.method !== rest.method)
      throw new AtollError('method_not_allowed', `${path} takes ${rest.method}`);
    const said = await readSaid(request);
    const report = reportOf(said, path, sessionId ?? said.session_id, owned);
    sessionId ??= said.session_id;
    const body = JSON.parse(report.body.toString());
    const forwarded = { method: rest.method, path: report.path, body };
    return { ...resultOf[path](body), forwarded };
  }

  const resultOf = {
    '/bind'(body: Record<string, string | undefined>) {
      binding = {
        executorSessionId: body.executor_session_id ?? null,
        projectDir: body.project_dir ?? null,
        hostname: body.hostname ?? null,
        executorProfile: body.executor_profile ?? null,
      };
      seq++;
      return { status: 200, body: { session: session() } };
    },
    '/events': () => ({ status: 201, body: { seq: ++seq } }),
    '/metadata'(patch: Record<string, unknown>) {
      const merged = mergePatch(metadata, patch) as Session['metadata'];
      if (Buffer.byteLength(JSON.stringify(merged)) > maxMetadataBytes)
        throw new AtollError('body_too_large', `metadata takes ${maxMetadataBytes} bytes at most`);
      metadata = merged;
      seq++;
      return { status: 200, body: { metadata } };
    },
  };

  function session(): Session {
    const time = new Date(now()).toISOString();
    return {
      id: sessionId ?? '',
      agent: 'stub',
      agentVersion: 1,
      status: 'running',
      cause: null,
      detail: null,
      usage: {},
      lastSeq: seq,
      runnerId: null,
      sandboxId: null,
      turn: null,
      queuedTurns: 0,
      binding,
      metadata,
      parent: null,
      snapshotSeq: null,
      createdAt: time,
      updatedAt: time,
      endedAt: null,
    };
  }

  return {
    takes: () => true,
    async answer({ request, response, path }: Call) {
      const { method = '' } = request;
      try {
        const { status, body, forwarded } = await answerTo(request, path);
        onCall({ method, path, status, forwarded });
        response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
        response.end(JSON.stringify(body));
      } catch (error) {
        const known = asAtollError(error);
        const { status, code, detail } = known;
        onCall({ method, path, status, error: { code, detail } });
        const allow = isExecutorRoute(path) ? { allow: executorRoutes[path].rest.method } : {};
        refuse(response, known, status === 405 ? allow : {});
      }
    },
  };
}
