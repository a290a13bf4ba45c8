import { AtollError, isErrorCode } from '@atoll/protocol/errors';
import * as v from 'valibot';

/** Nothing that speaks Atoll answers at `url`: no connection, a connection that broke, or a stranger's answer. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
  readonly url: string;
  /** What a stranger answered with, if anybody answered. */
  readonly status: number | undefined;

  constructor(url: string, reason: string, options?: { cause?: unknown; status?: number }) {
    super(`cannot reach ${url}: ${reason}`, options);
    this.url = url;
    this.status = options?.status;
  }
}

const problem = v.object({ status: v.number(), detail: v.string(), code: v.string() });

/** The error of an unsuccessful answer: the server's own where it is a problem document (RFC 9457). */
export async function errorOf(response: Response, url: string): Promise<AtollError | Unreachable> {
  const text = await response.text().catch(() => '');
  const parsed = v.safeParse(problem, parseJson(text));
  if (!parsed.success)
    return new Unreachable(url, `it answers ${response.status}, but not as Atoll does`, {
      status: response.status,
    });
  const { code, detail, status } = parsed.output;
  if (isErrorCode(code)) return new AtollError(code, detail);
  // A newer server may know codes that this client does not; what it says is still what counts.
  return new AtollError(status < 500 ? 'invalid_request' : 'internal', `${detail} (${code})`);
}

/** A failure of `fetch` or of a body in the words of whatever is underneath. */
export function unreachable(url: string, error: unknown): Unreachable {
  if (error instanceof Unreachable) return error;
  return new Unreachable(url, reasonOf(error), { cause: error });
}

/** Whether the same request may well work a little later. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Unreachable || error instanceof AtollError)) return false;
  return error.status === undefined || error.status >= 500;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  // undici says "fetch failed" and keeps the reason in `cause`, for several addresses as an AggregateError.
  if (cause instanceof AggregateError && cause.errors.length > 0) return reasonOf(cause.errors[0]);
  if (cause instanceof Error && cause.message !== '') return cause.message;
  return error.message;
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is an answer like any other here; every caller checks the shape of what it got.
    return undefined;
  }
}
