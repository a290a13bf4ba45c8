/** The model APIs that a gateway knows: which of their calls pass, what may be said in them, and how they say no. */

/** `metered`: it costs tokens, and so counts against a budget. */
export type ModelCall = { method: string; path: RegExp; metered: boolean };

export type ModelApi = {
  name: 'anthropic' | 'openai';
  calls: readonly ModelCall[];
  /** What a caller may say upstream; its credentials, its account and its origin are set anew outside. */
  asked: RegExp;
  /** The variable that holds the runner's own key. */
  variable: string;
  keyHeader(key: string): { name: string; value: string };
  /** The path of a call below an upstream's URL; read as the API's own clients read a base URL. */
  pathAt(base: URL, path: string): string;
  /** In the shape of the API's own errors, so that the executor understands it. */
  error(status: number, message: string): unknown;
};

const COMMON = 'accept|accept-language|content-type|content-encoding|user-agent|traceparent|tracestate';

const anthropic: ModelApi = {
  name: 'anthropic',
  calls: [
    { method: 'POST', path: /^\/v1\/messages$/, metered: true },
    { method: 'POST', path: /^\/v1\/messages\/count_tokens$/, metered: false },
    { method: 'GET', path: /^\/v1\/models(\/\w[\w.-]*)?$/, metered: false },
  ],
  asked: new RegExp(`^(${COMMON}|x-app|(anthropic|x-anthropic|x-claude|x-stainless)-.+)$`),
  variable: 'ANTHROPIC_API_KEY',
  keyHeader: (value) => ({ name: 'x-api-key', value }),
  pathAt: (base, path) => withoutSlash(base) + path,
  error: (status, message) => ({
    type: 'error',
    error: { type: anthropicErrors.get(status) ?? 'api_error', message },
  }),
};

const anthropicErrors = new Map([
  [400, 'invalid_request_error'],
  [403, 'permission_error'],
  [429, 'rate_limit_error'],
]);

const openai: ModelApi = {
  name: 'openai',
  calls: [
    { method: 'POST', path: /^\/v1\/(responses|chat\/completions)$/, metered: true },
    { method: 'GET', path: /^\/v1\/models(\/\w[\w.:-]*)?$/, metered: false },
  ],
  asked: new RegExp(
    `^(${COMMON}|openai-beta|originator|version|session_id|conversation_id|(x-openai|x-codex|x-stainless)-.+)$`,
  ),
  variable: 'OPENAI_API_KEY',
  keyHeader: (key) => ({ name: 'authorization', value: `Bearer ${key}` }),
  // A path stands for `/v1`: other servers have theirs at `/api/v1`, or without any version.
  pathAt: (base, path) => (base.pathname === '/' ? path : withoutSlash(base) + path.replace(/^\/v1/, '')),
  error: (status, message) => ({
    error: {
      message,
      type: openaiErrors.get(status) ?? 'server_error',
      param: null,
      code: null,
    },
  }),
};

const openaiErrors = new Map([
  [400, 'invalid_request_error'],
  [403, 'permission_error'],
  [429, 'insufficient_quota'],
]);

export const modelApis = { anthropic, openai } as const;

function withoutSlash({ pathname }: URL): string {
  return pathname.replace(/\/$/, '');
}
