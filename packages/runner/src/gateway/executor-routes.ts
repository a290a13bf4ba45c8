/**
 * The three routes that are the executor's own: it says which session it means in the body, and what is its own to say.
 * Its runner checks the first and adds what is the runner's to say.
 */
import type { IncomingMessage } from 'node:http';
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import { operations } from '@atoll/protocol/operations';
import { parse } from '@atoll/protocol/parse';
import { notArray } from '@atoll/protocol/schemas/common';
import * as v from 'valibot';

/** What the runner owns. An executor that sends it is overwritten. */
export const ownedFields = ['hostname', 'executor_profile'] as const;
export type Owned = Readonly<Record<(typeof ownedFields)[number], string>>;

export const executorRoutes = {
  '/bind': operations['session.bind'],
  '/events': operations['session.report'],
  '/metadata': operations['session.metadata.update'],
} as const;

const MAX_BODY_BYTES = 1024 * 1024;

const object = notArray(v.looseObject({}));
const body = v.looseObject({ session_id: v.pipe(v.string(), v.minLength(1, 'must not be empty')) });

/** In the place of the gateway's own, whose form is not the executor's doing. */
const ANY_SESSION = newId('session');

export type ExecutorRoute = keyof typeof executorRoutes;

export function isExecutorRoute(path: string): path is ExecutorRoute {
  return Object.hasOwn(executorRoutes, path);
}

/** The one method that such a route takes. */
export function executorMethod(path: string): string | undefined {
  return isExecutorRoute(path) ? executorRoutes[path].rest.method : undefined;
}

/** The route that a call to the coordinator's own path is for: what the runner owns is the runner's there, too. */
export function routeOfApi(
  method: string | undefined,
  path: string,
  sessionId: string,
): ExecutorRoute | undefined {
  return Object.keys(executorRoutes)
    .filter(isExecutorRoute)
    .find((route) => executorMethod(route) === method && apiPathOf(route, sessionId) === path);
}

function apiPathOf(route: ExecutorRoute, sessionId: string): string {
  return executorRoutes[route].rest.path.replace(':sessionId', encodeURIComponent(sessionId));
}

/** What an executor says, and of which session. */
export type Said = { session_id: string; [name: string]: unknown };

/** `sessionId` where the path has said it. Rejects with `body_too_large`, `invalid_json`, `invalid_request`. */
export async function readSaid(request: IncomingMessage, sessionId?: string): Promise<Said> {
  const said = readJson(await gather(request));
  return sessionId === undefined ? parse(body, said) : { ...parse(object, said), session_id: sessionId };
}

/** What the coordinator is asked instead. Throws `wrong_session`, `invalid_json`, `invalid_request`. */
export function reportOf(
  { session_id, ...said }: Said,
  route: ExecutorRoute,
  sessionId: string,
  owned: Owned,
): { path: string; body: Buffer } {
  const { params } = executorRoutes[route];
  if (session_id !== sessionId)
    throw new AtollError('wrong_session', 'this gateway serves the session of its sandbox alone');
  const added = Object.entries(owned).filter(([name]) => route === '/bind' || Object.hasOwn(said, name));
  const report = { ...said, ...Object.fromEntries(added) };
  parse(params, { ...report, sessionId: ANY_SESSION });
  return { path: apiPathOf(route, sessionId), body: writeJson(report) };
}

async function gather(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  // Destroyed, it would take along the connection that the refusal goes out on.
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    bytes += piece.length;
    if (bytes > MAX_BODY_BYTES)
      throw new AtollError('body_too_large', `this route takes ${MAX_BODY_BYTES} bytes at most`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function readJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch (error) {
    throw new AtollError('invalid_json', error instanceof Error ? error.message : undefined);
  }
}

/** What is nested too deep can be read, and not be written. */
function writeJson(value: unknown): Buffer {
  try {
    return Buffer.from(JSON.stringify(value));
  } catch (error) {
    throw new AtollError('invalid_json', 'the body is nested too deep', { cause: error });
  }
}
