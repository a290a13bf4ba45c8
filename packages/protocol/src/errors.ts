/**
 * The one registry of errors: code, HTTP status, sentence. `docs/errors.md` lists the same codes, and a test
 * keeps the two equal in both directions. On HTTP an error travels as RFC 9457 `application/problem+json`; on
 * JSON-RPC as -32000 with `data: {code, detail}`.
 */

/** What every client may see: `status` is HTTP's, `title` the registry's sentence. */
export const errorRegistry = {
  // The request itself
  invalid_request: { status: 400, title: 'The request does not have the shape this operation takes.' },
  invalid_json: { status: 400, title: 'The body is not valid JSON.' },
  invalid_cursor: { status: 400, title: 'The cursor is not a place in this list or log.' },
  invalid_path: { status: 400, title: 'The path is not one that a workspace or an agent folder can hold.' },
  invalid_agent: { status: 400, title: 'The agent folder cannot be used as it is.' },
  secret_in_env: {
    status: 400,
    title: 'An env value looks like a secret; store it as a credential instead.',
  },
  path_outside_workspace: { status: 400, title: 'The path leads out of the workspace.' },
  not_a_file: { status: 400, title: 'The path is there, but is not a regular file.' },
  unauthorized: { status: 401, title: 'A valid API key is needed.' },
  forbidden: { status: 403, title: 'This key may not do that.' },
  forbidden_for_session: { status: 403, title: 'A session may not do that for itself.' },
  wrong_session: { status: 403, title: 'The gateway of one session does not serve another.' },
  credential_out_of_bounds: { status: 403, title: 'The stored credential is not for this request.' },
  egress_refused: { status: 403, title: 'The agent may not reach that host, or not like that.' },
  not_found: { status: 404, title: 'There is no such thing here.' },
  unknown_route: { status: 404, title: 'There is no such route.' },
  proxy_unauthorized: { status: 407, title: 'The proxy needs the user and password of its URL.' },
  method_not_allowed: { status: 405, title: 'This route does not take that method.' },
  not_acceptable: { status: 406, title: 'None of the accepted media types can be given.' },
  request_timeout: { status: 408, title: 'The rest of the request did not come in time.' },
  body_too_large: { status: 413, title: 'The body is larger than this route takes.' },
  unsupported_media_type: { status: 415, title: 'This route takes another content type.' },
  headers_too_large: { status: 431, title: 'The address or the headers of the request are too long.' },
  // Conflicts with how things stand
  agent_in_use: { status: 409, title: 'The agent still has live sessions.' },
  already_bound: { status: 409, title: 'Another executor is bound to the session.' },
  already_exists: { status: 409, title: 'That name is taken.' },
  idempotency_conflict: { status: 409, title: 'This Idempotency-Key was used with another body.' },
  illegal_transition: { status: 409, title: 'The current status does not allow that.' },
  session_ended: { status: 409, title: 'The session has ended.' },
  seq_compacted: { status: 409, title: 'The event there was compacted, together with its neighbours.' },
  already_decided: { status: 409, title: 'The approval was answered or cancelled before.' },
  cannot_steer: { status: 409, title: 'The running turn cannot take a message.' },
  stale_epoch: { status: 409, title: 'A newer assignment exists; this one no longer counts.' },
  cancelled: { status: 409, title: 'The caller took the request back.' },
  too_many_tunnels: { status: 429, title: 'The sandbox has too many tunnels open.' },
  too_many_requests: { status: 429, title: 'Too many requests at a time.' },
  queue_full: { status: 429, title: 'Too many turns are waiting in this session.' },
  model_budget_spent: { status: 429, title: 'The session has used up its budget of model calls.' },
  // The platform
  internal: { status: 500, title: 'Something went wrong inside Atoll.' },
  wrong_secret_key: { status: 500, title: 'The stored credentials need another secret key.' },
  credential_unreadable: { status: 500, title: 'A stored credential is not what was stored.' },
  storage_failed: { status: 500, title: 'The store could not commit.' },
  isolation_required: { status: 500, title: 'This needs a driver that isolates sandboxes.' },
  snapshot_failed: { status: 500, title: 'The snapshot could not be taken or restored.' },
  image_unavailable: { status: 500, title: 'The image of the sandbox is not to be had.' },
  sandbox_failed: { status: 500, title: 'The sandbox could not do that.' },
  executor_failed: { status: 502, title: 'The executor could not start or broke its protocol.' },
  coordinator_unreachable: { status: 502, title: 'The gateway cannot reach the coordinator.' },
  upstream_failed: { status: 502, title: 'The gateway got no usable answer from where the call went.' },
  credentials_unavailable: { status: 503, title: 'The gateway cannot get what it would add to the call.' },
  no_model_credential: { status: 503, title: 'The gateway has no key for this model API.' },
  egress_unreachable: { status: 502, title: 'The gateway cannot reach that host.' },
  egress_unreadable: { status: 502, title: 'The gateway cannot look through what that host answered.' },
  no_session: { status: 503, title: 'The sandbox of this gateway is not of any session yet.' },
  no_session_token: { status: 503, title: 'The gateway has no token for its session.' },
  issuer_unavailable: { status: 503, title: 'The OIDC issuer cannot be asked.' },
  issuer_refused: { status: 503, title: 'The OIDC issuer gave no token.' },
  no_capacity: { status: 503, title: 'Every sandbox place is taken.' },
  no_runner: { status: 503, title: 'No runner can take this.' },
  runner_lost: { status: 503, title: 'The runner that worked on this was lost.' },
  runner_unreachable: { status: 502, title: 'The runner cannot be reached.' },
  wrong_version: { status: 409, title: 'The other side speaks another version of the protocol.' },
  shutting_down: { status: 503, title: 'The server is shutting down.' },
  timed_out: { status: 504, title: 'It did not finish in time.' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof errorRegistry;

/** Body of an HTTP error (RFC 9457). `type` is a URI reference into the error documentation. */
export type Problem = {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
};

/** The only error class that leaves a part. `detail` is a sentence for the person who reads it. */
export class AtollError extends Error {
  override readonly name = 'AtollError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly detail: string;

  constructor(code: ErrorCode, detail?: string, options?: { cause?: unknown }) {
    const entry = errorRegistry[code];
    const sentence = detail ?? entry.title;
    super(sentence, options);
    this.code = code;
    this.status = entry.status;
    this.detail = sentence;
  }

  /** The wire form; never carries `cause` or a stack. */
  toProblem(): Problem {
    return {
      type: `urn:atoll:error:${this.code}`,
      title: errorRegistry[this.code].title,
      status: this.status,
      detail: this.detail,
      code: this.code,
    };
  }
}

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorRegistry, code);
}

/** An error as it may leave a part: one that is not known is `internal`, with it as its cause. */
export function asAtollError(error: unknown): AtollError {
  return error instanceof AtollError ? error : new AtollError('internal', undefined, { cause: error });
}
