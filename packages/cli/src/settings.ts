/**
 * Every setting of `atoll`, once: flag, variable, name in the file, default and meaning. `npm run docs` writes
 * docs/configuration.md from this table.
 */
import { homedir, hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { isSafeUrl } from '@atoll/protocol/loopback';
import { UsageError } from './failure.ts';

export type Setting<T = unknown> = {
  /** Without a flag: secrets, which would show in the list of processes. */
  flag: string | undefined;
  variable: string;
  /** Whether the file may hold it. Secrets may not stand there. */
  inFile: boolean;
  /** Where the value is wanted: by the server, or by what talks to one. */
  of: 'server' | 'client' | 'both';
  /** What `--help` calls the value; absent for switches. */
  value: string | undefined;
  summary: string;
  /** The default as people read it. */
  shownDefault: string;
  fallback: (environment: NodeJS.ProcessEnv) => T;
  /** An object in the file, and its JSON in the variable. */
  json?: true;
  /** Takes the text of a flag or variable; throws UsageError. */
  read(text: string): T;
};

const UNITS_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const MAX_DURATION_MS = 7300 * 86_400_000;

export const settings = {
  host: text({
    flag: 'host',
    of: 'server',
    value: 'ADDRESS',
    summary: 'Address to listen on',
    fallback: '127.0.0.1',
  }),
  port: whole({
    flag: 'port',
    of: 'server',
    value: 'PORT',
    summary: 'Port to listen on; 0 takes a free one',
    fallback: 4100,
    min: 0,
    max: 65_535,
  }),
  oidcIssuer: optional(
    {
      flag: 'oidc-issuer',
      of: 'both',
      value: 'URL',
      summary: 'OIDC issuer: its JWTs are taken as API keys are; a runner’s tokens come from it',
    },
    readSafeUrl,
  ),
  oidcAudience: optional({
    flag: 'oidc-audience',
    of: 'both',
    value: 'NAME',
    summary: 'The audience that JWTs must be for, and are asked for',
  }),
  oidcRoleClaim: text({
    flag: 'oidc-role-claim',
    of: 'server',
    value: 'CLAIM',
    summary: 'The claim that holds the role: `admin`, `client` or `runner`',
    fallback: 'atoll_role',
  }),
  oidcTenantClaim: optional({
    flag: 'oidc-tenant-claim',
    of: 'server',
    value: 'CLAIM',
    summary: 'The claim that holds the tenant; without this setting all JWTs are of the tenant `default`',
  }),
  allowRemote: toggle({
    flag: 'allow-remote',
    of: 'server',
    summary: 'Allow an address other than loopback, for a server that stands behind TLS',
  }),
  dataDir: {
    flag: 'data-dir',
    variable: 'ATOLL_DATA_DIR',
    inFile: true,
    of: 'both',
    value: 'DIR',
    summary: 'Where sessions, agents and the admin key are kept',
    shownDefault: '`$XDG_DATA_HOME/atoll` or `~/.local/share/atoll`',
    fallback: (environment) => join(environment.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'atoll'),
    read: (value) => resolve(value),
  } satisfies Setting<string>,
  driver: oneOf(['bubblewrap', 'gvisor', 'docker', 'process'], {
    flag: 'driver',
    of: 'server',
    value: 'NAME',
    summary:
      'How sandboxes are made: `bubblewrap`, `gvisor` (a kernel of their own), `docker` (any image), or `process` (no isolation at all)',
    fallback: 'bubblewrap',
  }),
  gvisorPlatform: optional(
    {
      flag: 'gvisor-platform',
      of: 'server',
      value: 'NAME',
      summary:
        'How the driver `gvisor` catches system calls: `systrap`, `ptrace`, `kvm`; without it as runsc chooses',
    },
    readWord,
  ),
  dockerImage: text({
    flag: 'docker-image',
    of: 'server',
    value: 'IMAGE',
    summary: 'What sandboxes of the driver `docker` run in, unless their agent names another image',
    fallback: 'node:24-bookworm',
  }),
  dockerHost: {
    flag: undefined,
    variable: 'DOCKER_HOST',
    inFile: true,
    of: 'server',
    value: 'URL',
    summary: 'Where the engine of the driver `docker` is: a Unix socket of this machine',
    shownDefault: '`unix:///var/run/docker.sock`',
    fallback: () => 'unix:///var/run/docker.sock',
    read: (value) => value,
  } satisfies Setting<string>,
  capacity: whole({
    flag: 'capacity',
    of: 'server',
    value: 'COUNT',
    summary: 'How many sandboxes may live at once',
    fallback: 16,
    min: 1,
    max: 10_000,
  }),
  hostname: {
    flag: 'hostname',
    variable: 'ATOLL_HOSTNAME',
    inFile: true,
    of: 'server',
    value: 'NAME',
    summary: 'The name this machine’s runner goes by',
    shownDefault: 'the machine’s host name',
    fallback: () => hostname(),
    read: (value) => value,
  } satisfies Setting<string>,
  logLevel: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'silent'], {
    flag: 'log-level',
    of: 'server',
    value: 'LEVEL',
    summary: 'How much the server writes to stderr: `trace`, `debug`, `info`, `warn`, `error`, `silent`',
    fallback: 'warn',
  }),
  memoryMb: whole({
    flag: 'memory-mb',
    of: 'server',
    value: 'MIB',
    summary: 'Memory of a sandbox, unless its agent sets another',
    fallback: 2048,
    min: 64,
    max: 1_048_576,
  }),
  processes: whole({
    flag: 'processes',
    of: 'server',
    value: 'COUNT',
    summary: 'Processes and threads of a sandbox, unless its agent sets another',
    fallback: 512,
    min: 16,
    max: 100_000,
  }),
  diskMb: whole({
    flag: 'disk-mb',
    of: 'server',
    value: 'MIB',
    summary: 'Files of a sandbox together, unless its agent sets another',
    fallback: 4096,
    min: 1,
    max: 16_777_216,
  }),
  idlePause: duration('never', {
    flag: 'idle-pause',
    summary: 'Free the sandbox of a session that idles for so long',
    fallback: '30m',
  }),
  endPaused: duration('never', {
    flag: 'end-paused',
    summary: 'End a paused session that nobody used for so long',
    fallback: 'never',
  }),
  keepSessions: duration('forever', {
    flag: 'keep-sessions',
    summary: 'How long a session that ended is kept, with its log; then it is erased',
    fallback: 'forever',
  }),
  thinSnapshots: duration('never', {
    flag: 'thin-snapshots',
    summary: 'Of snapshots older than that, keep the last of each day',
    fallback: 'never',
  }),
  keepSnapshots: duration('forever', {
    flag: 'keep-snapshots',
    summary: 'How long snapshots are kept; a session’s latest one stays',
    fallback: 'forever',
  }),
  keepSandboxes: duration('forever', {
    flag: 'keep-sandboxes',
    summary: 'How long ended sandboxes and their jobs are listed',
    fallback: 'forever',
  }),
  compactPartials: duration('never', {
    flag: 'compact-partials',
    summary: 'Compact the partial messages of turns that completed so long ago',
    fallback: '7d',
  }),
  executorProfiles: {
    flag: undefined,
    variable: 'ATOLL_EXECUTOR_PROFILES',
    inFile: true,
    of: 'server',
    json: true,
    value: 'JSON',
    summary: 'Executor profiles of this machine (docs/executors.md)',
    shownDefault: 'the built-in ones',
    fallback: () => ({}),
    read: readObject,
  } satisfies Setting<Record<string, unknown>>,
  server: text({
    flag: 'server',
    of: 'client',
    value: 'URL',
    summary: 'The server to talk to',
    fallback: 'http://127.0.0.1:4100',
  }),
  key: {
    flag: 'key',
    variable: 'ATOLL_API_KEY',
    inFile: false,
    of: 'client',
    value: 'KEY',
    summary: 'API key',
    shownDefault: '`admin.key` in the data directory, for a server on this machine',
    fallback: () => undefined,
    read: (value) => value,
  } satisfies Setting<string | undefined>,
  runnerKey: {
    flag: undefined,
    variable: 'ATOLL_RUNNER_KEY',
    inFile: false,
    of: 'client',
    value: 'KEY',
    summary: 'API key with the role `runner`, for a runner or gateway',
    shownDefault: 'the API key',
    fallback: () => undefined,
    read: (value) => value || undefined,
  } satisfies Setting<string | undefined>,
  runnerKeyFile: optional({
    flag: 'key-file',
    of: 'client',
    value: 'FILE',
    summary: 'File that holds the key of a runner or gateway; one line end after it is dropped',
  }),
  oidcClientId: optional({
    flag: 'oidc-client-id',
    of: 'client',
    value: 'ID',
    summary: 'OIDC client of this runner or gateway: it asks the issuer for a token instead of using a key',
  }),
  oidcClientSecret: {
    flag: undefined,
    variable: 'ATOLL_OIDC_CLIENT_SECRET',
    inFile: false,
    of: 'client',
    value: 'SECRET',
    summary: 'Secret of the OIDC client',
    shownDefault: 'none',
    fallback: () => undefined,
    read: (value) => value || undefined,
  } satisfies Setting<string | undefined>,
  oidcClientSecretFile: optional({
    flag: 'oidc-client-secret-file',
    of: 'client',
    value: 'FILE',
    summary: 'File that holds the secret of the OIDC client; one line end after it is dropped',
  }),
  oidcScope: optional({
    flag: 'oidc-scope',
    of: 'client',
    value: 'SCOPES',
    summary: 'Scopes to ask the issuer for, divided by spaces',
  }),
  anthropicApiKey: {
    flag: undefined,
    variable: 'ANTHROPIC_API_KEY',
    inFile: false,
    of: 'server',
    value: 'KEY',
    summary: 'Key for the model. It stays outside of every sandbox',
    shownDefault: 'none',
    fallback: () => undefined,
    read: (value) => value || undefined,
  } satisfies Setting<string | undefined>,
  secretKey: {
    flag: undefined,
    variable: 'ATOLL_SECRET_KEY',
    inFile: false,
    of: 'server',
    value: 'KEY',
    summary: 'Key that seals stored credentials: 32 bytes as base64 or hex',
    shownDefault: '`secret.key` in the data directory, made at first need',
    fallback: () => undefined,
    read: readSecretKey,
  } satisfies Setting<Uint8Array | undefined>,
  launchToken: {
    flag: undefined,
    variable: 'ATOLL_LAUNCH_TOKEN',
    inFile: false,
    of: 'server',
    value: 'TOKEN',
    summary: 'What a host must know to use the worker; at least 16 characters',
    shownDefault: 'none: over stdio, whoever spawned the worker is trusted',
    fallback: () => undefined,
    read(value) {
      if (value.length < 16) throw new UsageError('must have at least 16 characters');
      return value;
    },
  } satisfies Setting<string | undefined>,
  anthropicBaseUrl: {
    flag: undefined,
    variable: 'ANTHROPIC_BASE_URL',
    inFile: true,
    of: 'server',
    value: 'URL',
    summary: 'Where the Anthropic Messages API is',
    shownDefault: '`https://api.anthropic.com`',
    fallback: () => 'https://api.anthropic.com',
    read: readUrl,
  } satisfies Setting<string>,
  openaiApiKey: {
    flag: undefined,
    variable: 'OPENAI_API_KEY',
    inFile: false,
    of: 'server',
    value: 'KEY',
    summary: 'Key for a model behind the OpenAI API. It stays outside of every sandbox',
    shownDefault: 'none',
    fallback: () => undefined,
    read: (value) => value || undefined,
  } satisfies Setting<string | undefined>,
  openaiBaseUrl: {
    flag: undefined,
    variable: 'OPENAI_BASE_URL',
    inFile: true,
    of: 'server',
    value: 'URL',
    summary: 'Where the OpenAI API is',
    shownDefault: '`https://api.openai.com/v1`',
    fallback: () => 'https://api.openai.com/v1',
    read: readUrl,
  } satisfies Setting<string>,
} as const;

export type SettingName = keyof typeof settings;
export type Config = { readonly [N in SettingName]: ReturnType<(typeof settings)[N]['read']> };

type Described<T> = { flag: string; of: Setting['of']; value?: string; summary: string; fallback: T };

function describe<T>(about: Described<T>, read: (text: string) => T): Setting<T> {
  return {
    flag: about.flag,
    variable: `ATOLL_${about.flag.replaceAll('-', '_').toUpperCase()}`,
    inFile: true,
    of: about.of,
    value: about.value,
    summary: about.summary,
    shownDefault: `\`${about.fallback}\``,
    fallback: () => about.fallback,
    read,
  };
}

function text(about: Described<string>): Setting<string> {
  return describe(about, (value) => {
    if (value === '') throw new UsageError('must not be empty');
    return value;
  });
}

function optional(
  about: Omit<Described<undefined>, 'fallback'>,
  read: (text: string) => string = (value) => value,
): Setting<string | undefined> {
  const described = describe<string | undefined>({ ...about, fallback: undefined }, (value) =>
    value === '' ? undefined : read(value),
  );
  return { ...described, shownDefault: 'none' };
}

function readWord(value: string): string {
  if (!/^[a-z]+$/.test(value)) throw new UsageError('must be one word of small letters');
  return value;
}

function toggle(about: Omit<Described<boolean>, 'fallback' | 'value'>): Setting<boolean> {
  return describe<boolean>({ ...about, fallback: false }, (value) => {
    if (['true', '1', 'yes', 'on'].includes(value)) return true;
    if (['false', '0', 'no', 'off'].includes(value)) return false;
    throw new UsageError('must be true or false');
  });
}

function whole(about: Described<number> & { min: number; max: number }): Setting<number> {
  return describe(about, (value) => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < about.min || number > about.max)
      throw new UsageError(`must be a whole number from ${about.min} to ${about.max}`);
    return number;
  });
}

/** Milliseconds; undefined where `unlimited` is said, which is a word for "no end". */
function duration(
  unlimited: 'never' | 'forever',
  { flag, summary, fallback }: Pick<Described<string>, 'flag' | 'summary' | 'fallback'>,
): Setting<number | undefined> {
  const read = (value: string): number | undefined => {
    if (value === unlimited) return undefined;
    const [, count = '', unit = ''] = /^(\d{1,9})([smhd])$/.exec(value) ?? [];
    const ms = Number(count) * (UNITS_MS[unit] ?? 0);
    if (ms === 0 || ms > MAX_DURATION_MS)
      throw new UsageError(`must be a time of at most 7300d, as 90s, 30m, 12h or 7d, or ${unlimited}`);
    return ms;
  };
  const about = { flag, summary, of: 'server', value: 'TIME', fallback: read(fallback) } as const;
  return { ...describe<number | undefined>(about, read), shownDefault: `\`${fallback}\`` };
}

function oneOf<const T extends string>(allowed: readonly T[], about: Described<NoInfer<T>>): Setting<T> {
  return describe<T>(about, (value) => {
    const found = allowed.find((name) => name === value);
    if (found === undefined) throw new UsageError(`must be one of ${allowed.join(', ')}`);
    return found;
  });
}

function readUrl(value: string): string {
  if (!URL.canParse(value)) throw new UsageError('must be a URL');
  return value;
}

/** What it must hold is looked at where it is used. */
function readObject(value: string): Record<string, unknown> {
  let read: unknown;
  try {
    read = JSON.parse(value);
  } catch {
    throw new UsageError('must be JSON');
  }
  if (typeof read !== 'object' || read === null || Array.isArray(read))
    throw new UsageError('must be an object');
  return { ...read };
}

function readSafeUrl(value: string): string {
  if (!isSafeUrl(value)) throw new UsageError('must be an https URL, or on this machine');
  return value;
}

function readSecretKey(value: string): Uint8Array {
  if (/^[0-9a-f]{64}$/i.test(value)) return Buffer.from(value, 'hex');
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(value)) return Buffer.from(value, 'base64');
  throw new UsageError('must be 32 bytes as base64 or hex; make one with: openssl rand -base64 32');
}
