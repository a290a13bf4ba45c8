/** Any failure as one that may leave: what is not ours becomes `internal`, and is logged. */
import { AtollError, type ErrorCode } from '@atoll/protocol/errors';
import type { Logger } from '../logger.ts';

/** The text of what is not ours may hold what clients must not see. */
export function toAtollError(error: unknown, logger: Logger): AtollError {
  if (error instanceof AtollError) {
    const { code, status, detail, cause } = error;
    if (status === 500 || (status > 500 && cause !== undefined))
      logger.error({ code, err: cause ?? error }, detail);
    // Said on purpose, as that there is no room: where it was said tells nothing more.
    else if (status > 500) logger.warn({ code }, detail);
    return error;
  }
  const known = frameworkCode(error);
  if (known) return new AtollError(known.code, known.detail);
  logger.error({ err: error }, 'a request failed');
  return new AtollError('internal', undefined, { cause: error });
}

const FRAMEWORK_CODES: Readonly<Record<number, ErrorCode>> = {
  400: 'invalid_request',
  404: 'unknown_route',
  405: 'method_not_allowed',
  413: 'body_too_large',
  415: 'unsupported_media_type',
};

function frameworkCode(error: unknown): { code: ErrorCode; detail?: string } | undefined {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return undefined;
  const code = typeof error.statusCode === 'number' ? FRAMEWORK_CODES[error.statusCode] : undefined;
  if (!code) return undefined;
  // The framework's own words are its status again. Uploads take any type, everything else JSON.
  if (code === 'unsupported_media_type') return { code, detail: 'this route takes application/json' };
  return {
    code,
    ...('message' in error && typeof error.message === 'string' ? { detail: clip(error.message) } : {}),
  };
}

export function clip(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
