/** Requests for tests, as raw as they get: paths, headers and bodies go out as they are. */
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { errorRegistry, isErrorCode } from '@atoll/protocol';

export type Answer = {
  status: number;
  body: { code?: string; detail?: string; status?: number; type?: string; title?: string };
  /** The body as it came. */
  text: string;
  type: string;
  headers: http.IncomingHttpHeaders;
};

export type Asked = {
  body?: string | Buffer | AsyncIterable<string | Buffer>;
  /** null: none. */
  key?: string | null;
  type?: string;
  headers?: Record<string, string>;
};

export type Ask = (method: string, path: string, options?: Asked) => Promise<Answer>;

/** Asks one server; its key where none is given. A body of pieces is sent chunked. */
export function createAsk(server: { readonly url: string; readonly key: string }): Ask {
  return async (method, path, { body, key = server.key, type = 'application/json', headers = {} } = {}) => {
    const { hostname, port } = new URL(server.url);
    const whole = typeof body === 'string' || Buffer.isBuffer(body);
    const all = {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'content-type': type }),
      ...(whole ? { 'content-length': String(Buffer.byteLength(body)) } : {}),
      ...headers,
    };
    // An answer that does not end is none.
    const signal = AbortSignal.timeout(30_000);
    const request = http.request({ hostname, port, method, path, headers: all, agent: false, signal });
    const answered = new Promise<Answer>((resolve, reject) => {
      request.on('error', reject);
      request.on('response', (response) => {
        readAnswer(response).then(resolve, reject);
      });
    });
    // Whoever is refused in the middle of a body need not send the rest.
    if (body === undefined || whole) request.end(body);
    else void sendPieces(request, body, answered);
    return answered;
  };
}

async function readAnswer(response: http.IncomingMessage): Promise<Answer> {
  const text = Buffer.concat(await response.toArray()).toString();
  const type = response.headers['content-type'] ?? '';
  const body = type.includes('json') ? JSON.parse(text) : {};
  return { status: response.statusCode ?? 0, body, text, type, headers: response.headers };
}

async function sendPieces(
  request: http.ClientRequest,
  pieces: AsyncIterable<string | Buffer>,
  answered: Promise<unknown>,
): Promise<void> {
  let over = false;
  const end = () => {
    over = true;
  };
  answered.then(end, end);
  for await (const piece of pieces) {
    if (over) break;
    await new Promise((resolve) => request.write(piece, resolve));
  }
  request.end();
}

/** Writes bytes to the server's port and gives what came back until it closed the connection. */
export async function sendBytes(url: string, bytes: string | Buffer): Promise<Answer> {
  const { hostname, port } = new URL(url);
  const socket = net.connect(Number(port), hostname);
  socket.write(bytes);
  const text = Buffer.concat(await socket.toArray()).toString();
  const [head = '', body = ''] = text.split(/\r\n\r\n(.*)/s);
  const type = /^content-type: (.*)$/im.exec(head)?.[1] ?? '';
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0),
    body: type.includes('json') ? JSON.parse(body) : {},
    text: body,
    type,
    headers: {},
  };
}

/** An answer that is RFC 9457's, with a code and status of the registry. */
export function assertProblem(answer: Answer, status: number, code: string, what?: string): void {
  const { body } = answer;
  assert.deepEqual([answer.status, body.code], [status, code], `${what ?? ''} ${JSON.stringify(body)}`);
  assert.equal(answer.type, 'application/problem+json');
  assert.ok(isErrorCode(code));
  assert.equal(errorRegistry[code].status, status);
  const { title, type, status: told } = body;
  assert.deepEqual([title, type, told], [errorRegistry[code].title, `urn:atoll:error:${code}`, status]);
  assert.ok((body.detail ?? '').length > 0);
}

export const json = (value: unknown): Asked => ({ body: JSON.stringify(value) });
