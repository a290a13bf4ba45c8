/**
 * What never becomes a request: bytes that are not HTTP, headers without end. Answered on the bare socket, in the same
 * form as every other failure.
 */
import type { Socket } from 'node:net';
import { AtollError, type ErrorCode } from '@atoll/protocol/errors';

const CODES: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'body_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
};

export function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  // What was written already is an answer that this one must not be mixed with.
  if (error.code === 'ECONNRESET' || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  const code = CODES[error.code ?? ''];
  const refused =
    code === undefined
      ? new AtollError('invalid_request', 'what came is not an HTTP/1.1 request')
      : new AtollError(code);
  const body = JSON.stringify(refused.toProblem());
  socket.end(
    `HTTP/1.1 ${refused.status} Refused\r\ncontent-type: application/problem+json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}
