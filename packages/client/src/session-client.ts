/**
 * What an executor tells of itself, through its gateway. Imports nothing, so that an agent may take this file alone;
 * docs/gateway.md has the same calls with curl.
 */

export type SessionClientOptions = {
  /** The gateway: `ATOLL_API_URL` of the executor's environment. */
  url: string;
  /** `ATOLL_SESSION_ID` of the executor's environment. */
  sessionId: string;
  fetch?: typeof globalThis.fetch | undefined;
};

export type SessionBinding = {
  executorSessionId: string | null;
  projectDir: string | null;
  hostname: string | null;
  executorProfile: string | null;
};

/** Every method resolves once what it says is durable, and throws SessionClientError otherwise. */
export type SessionClient = {
  /** Says which conversation of the executor's works for the session, and where. The same again is no error. */
  bind(executor: { executorSessionId: string; projectDir?: string }): Promise<{ binding: SessionBinding }>;
  /** Logs a `report` with this type and data. Gives its seq. */
  addEvent(eventType: string, data?: Readonly<Record<string, unknown>>): Promise<{ seq: number }>;
  /** Merges the patch into the session's metadata (RFC 7396): null removes a member. Gives the whole. */
  updateMetadata(patch: Readonly<Record<string, unknown>>): Promise<{ metadata: Record<string, unknown> }>;
};

/** What the gateway or the coordinator refused with (docs/errors.md). */
export class SessionClientError extends Error {
  override readonly name = 'SessionClientError';
  /** 0 when no gateway answered. */
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string, options?: { cause?: unknown }) {
    super(detail, options);
    this.status = status;
    this.code = code;
  }
}

export function createSessionClient(options: SessionClientOptions): SessionClient {
  const url = options.url.replace(/\/+$/, '');
  const fetch = options.fetch ?? globalThis.fetch.bind(globalThis);

  async function send(method: string, path: string, said: object): Promise<unknown> {
    const body = JSON.stringify({ ...said, session_id: options.sessionId });
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(url + path, { method, headers, body }).catch((cause: unknown) => {
      throw new SessionClientError(0, 'unreachable', `no gateway answers at ${url}`, { cause });
    });
    const answer: unknown = await response.json().catch(() => undefined);
    if (!response.ok || typeof answer !== 'object' || answer === null)
      throw new SessionClientError(response.status, textOf(answer, 'code'), textOf(answer, 'detail'));
    return answer;
  }

  return {
    async bind({ executorSessionId, projectDir }) {
      const said = {
        executor_session_id: executorSessionId,
        ...(projectDir === undefined ? {} : { project_dir: projectDir }),
      };
      const { session } = (await send('POST', '/bind', said)) as { session: { binding: SessionBinding } };
      return { binding: session.binding };
    },
    addEvent: async (eventType, data = {}) =>
      (await send('POST', '/events', { ...data, event_type: eventType })) as { seq: number },
    updateMetadata: async (patch) =>
      (await send('PATCH', '/metadata', patch)) as { metadata: Record<string, unknown> },
  };
}

function textOf(answer: unknown, name: 'code' | 'detail'): string {
  const value = typeof answer === 'object' && answer !== null ? Reflect.get(answer, name) : undefined;
  return typeof value === 'string' ? value : 'the answer is not one of Atoll’s';
}
