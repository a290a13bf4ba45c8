/** All commands of `atoll`. Their code is loaded when one of them runs; this table is what help and parsing need. */
import type { CommandModule } from './invocation.ts';
import type { SettingName } from './settings.ts';

export type Command = {
  summary: string;
  /** Positional: `NAME` is needed, `[NAME]` may be left out, a last `NAME…` takes all that follow. */
  args: readonly string[];
  /** Flags of this command alone; with `value` they take one, with `many` one each time they are given. */
  flags: Readonly<Record<string, { value?: string; many?: true; summary: string }>>;
  settings: readonly SettingName[];
  examples: readonly string[];
  /** What to say of a word too many, which is not repeated then: it may be a secret. */
  refusal?: string;
  /** Runs until a signal stops it; being stopped is then its proper end. */
  untilStopped?: true;
  load(): Promise<CommandModule>;
};

const client = ['server', 'key', 'dataDir'] as const;

const model = { model: { value: 'MODEL', summary: 'Model to use instead of the agent’s' } };
const permissionMode = {
  'permission-mode': {
    value: 'MODE',
    summary: 'default, acceptEdits, bypassPermissions, plan or dontAsk',
  },
};
const page = {
  limit: { value: 'COUNT', summary: 'How many at most, 1 to 1000 (default 100)' },
  cursor: { value: 'CURSOR', summary: 'Where the last page ended' },
};

export const commands: Readonly<Record<string, Command>> = {
  start: {
    summary: 'Start a server that runs sandboxes on this machine',
    args: [],
    flags: {},
    settings: [
      'host',
      'port',
      'dataDir',
      'driver',
      'capacity',
      'memoryMb',
      'processes',
      'diskMb',
      'hostname',
      'logLevel',
      'oidcIssuer',
      'oidcAudience',
      'oidcRoleClaim',
      'oidcTenantClaim',
      'allowRemote',
    ],
    examples: ['atoll start', 'atoll start --port 0 --data-dir ./data --json'],
    untilStopped: true,
    load: () => import('./commands/start.ts'),
  },
  worker: {
    summary: 'Serve one desktop app over stdio or a Unix socket, without any port (JSON-RPC 2.0 lines)',
    args: [],
    flags: {
      stdio: { summary: 'Speak over stdin and stdout (default)' },
      socket: { value: 'PATH', summary: 'Listen on this Unix socket instead; needs ATOLL_LAUNCH_TOKEN' },
      legacy: { summary: 'Answer the line commands of before, too (ping, state_at); gone in 2.0' },
      'allow-loopback-port': {
        summary: 'Allow the process driver, whose agents are reached over a port of this machine',
      },
    },
    settings: ['dataDir', 'driver', 'capacity', 'memoryMb', 'processes', 'diskMb', 'hostname', 'logLevel'],
    examples: ['atoll worker', 'atoll worker --socket ~/.cache/my-app/atoll.sock'],
    untilStopped: true,
    load: () => import('./commands/worker.ts'),
  },
  deploy: {
    summary: 'Store an agent folder on the server, as a new version when it changed',
    args: ['DIR'],
    flags: { name: { value: 'NAME', summary: 'Name of the agent (default: the folder’s)' } },
    settings: client,
    examples: ['atoll deploy ./my-agent', 'atoll deploy . --name reviewer'],
    load: () => import('./commands/deploy.ts'),
  },
  run: {
    summary: 'Open a session, send one message, show the answer, end the session',
    args: ['AGENT', '[PROMPT]'],
    flags: { ...model, ...permissionMode, keep: { summary: 'Leave the session open' } },
    settings: client,
    examples: ['atoll run hello "What can you do?"', 'git diff | atoll run reviewer'],
    load: () => import('./commands/run.ts'),
  },
  'agents list': {
    summary: 'List agents',
    args: [],
    flags: page,
    settings: client,
    examples: ['atoll agents list'],
    load: () => import('./commands/agents-list.ts'),
  },
  'agents show': {
    summary: 'Show one agent and its versions',
    args: ['NAME'],
    flags: {},
    settings: client,
    examples: ['atoll agents show hello'],
    load: () => import('./commands/agents-show.ts'),
  },
  'agents delete': {
    summary: 'Remove an agent that has no live sessions',
    args: ['NAME'],
    flags: {},
    settings: client,
    examples: ['atoll agents delete hello'],
    load: () => import('./commands/agents-delete.ts'),
  },
  'session create': {
    summary: 'Open a session with an agent',
    args: ['AGENT'],
    flags: { ...model, ...permissionMode },
    settings: client,
    examples: ['atoll session create hello', 'atoll session create hello --model claude-sonnet-4-5'],
    load: () => import('./commands/session-create.ts'),
  },
  'session list': {
    summary: 'List sessions, newest first',
    args: [],
    flags: {
      agent: { value: 'NAME', summary: 'Only those with this agent' },
      status: { value: 'STATUS', summary: 'Only those with this status' },
      ...page,
    },
    settings: client,
    examples: ['atoll session list --status running'],
    load: () => import('./commands/session-list.ts'),
  },
  'session show': {
    summary: 'Show one session, with its turns, snapshots and forks as a line from top to bottom',
    args: ['SESSION'],
    flags: {},
    settings: client,
    examples: ['atoll session show ses_…'],
    load: () => import('./commands/session-show.ts'),
  },
  'session state': {
    summary: 'Show what a session was at a time or an event',
    args: ['SESSION'],
    flags: { at: { value: 'MOMENT', summary: 'Seq of an event, or an ISO 8601 time (default: now)' } },
    settings: client,
    examples: ['atoll session state ses_… --at 120', 'atoll session state ses_… --at 2026-02-03T10:00:00Z'],
    load: () => import('./commands/session-state.ts'),
  },
  'session fork': {
    summary: 'Make a new session with this one’s events and files up to a time or an event',
    args: ['SESSION'],
    flags: { at: { value: 'MOMENT', summary: 'Seq of an event, or an ISO 8601 time (default: now)' } },
    settings: client,
    examples: ['atoll session fork ses_…', 'atoll session fork ses_… --at 120'],
    load: () => import('./commands/session-fork.ts'),
  },
  'session send': {
    summary: 'Send a message and show its turn; Ctrl-C leaves the turn running',
    args: ['SESSION', '[PROMPT]'],
    flags: { ...model, 'max-turns': { value: 'COUNT', summary: 'Steps of the agent at most' } },
    settings: client,
    examples: ['atoll session send ses_… "Now write the tests"', 'atoll session send ses_… < task.md'],
    load: () => import('./commands/session-send.ts'),
  },
  'session attach': {
    summary: 'Show a session’s log and go on with it live',
    args: ['SESSION'],
    flags: { after: { value: 'SEQ', summary: 'Only what comes after this event (default: from the start)' } },
    settings: client,
    examples: ['atoll session attach ses_…', 'atoll session attach ses_… --after 120 --json'],
    load: () => import('./commands/session-attach.ts'),
  },
  'session interrupt': {
    summary: 'Stop the running turn; the session stays',
    args: ['SESSION'],
    flags: { queued: { summary: 'Drop the turns that wait, too' } },
    settings: client,
    examples: ['atoll session interrupt ses_…'],
    load: () => import('./commands/session-interrupt.ts'),
  },
  'session pause': {
    summary: 'Free an idle session’s sandbox; a message, or resume, brings it back',
    args: ['SESSION'],
    flags: {},
    settings: client,
    examples: ['atoll session pause ses_…'],
    load: () => import('./commands/session-pause.ts'),
  },
  'session resume': {
    summary: 'Give a paused session a sandbox with its files and conversation',
    args: ['SESSION'],
    flags: {},
    settings: client,
    examples: ['atoll session resume ses_…'],
    load: () => import('./commands/session-resume.ts'),
  },
  'session approve': {
    summary: 'Answer what the agent asks for; without APPROVAL, list what is open',
    args: ['SESSION', '[APPROVAL]'],
    flags: {
      allow: { summary: 'Let the agent do it' },
      deny: { summary: 'Do not let it' },
      message: {
        value: 'TEXT',
        summary: 'Why, told to the agent when it is denied; or the answer to a question',
      },
      ...page,
    },
    settings: client,
    examples: [
      'atoll session approve ses_…',
      'atoll session approve ses_… appr_… --allow',
      'atoll session approve ses_… appr_… --deny --message "Use the staging database"',
    ],
    load: () => import('./commands/session-approve.ts'),
  },
  'session end': {
    summary: 'End a session; its log stays readable',
    args: ['SESSION'],
    flags: { purge: { summary: 'Erase its log and files, too' } },
    settings: client,
    examples: ['atoll session end ses_…'],
    load: () => import('./commands/session-end.ts'),
  },
  'session exec': {
    summary: 'Run a shell command in a session’s sandbox',
    args: ['SESSION', 'COMMAND…'],
    flags: {
      cwd: { value: 'DIR', summary: 'Where to run it (default: the workspace)' },
      'timeout-ms': { value: 'MS', summary: 'Kill it after so many milliseconds' },
    },
    settings: client,
    examples: ['atoll session exec ses_… -- ls -la', 'atoll session exec ses_… "npm test | tail -20"'],
    load: () => import('./commands/session-exec.ts'),
  },
  'session files list': {
    summary: 'List the files of a session’s workspace',
    args: ['SESSION', '[PREFIX]'],
    flags: page,
    settings: client,
    examples: ['atoll session files list ses_… src/'],
    load: () => import('./commands/session-files-list.ts'),
  },
  'session files read': {
    summary: 'Write a workspace file to stdout, or to a file',
    args: ['SESSION', 'PATH'],
    flags: { output: { value: 'FILE', summary: 'Write here instead of stdout' } },
    settings: client,
    examples: [
      'atoll session files read ses_… report.md',
      'atoll session files read ses_… a.zip --output a.zip',
    ],
    load: () => import('./commands/session-files-read.ts'),
  },
  'session files write': {
    summary: 'Write a workspace file from stdin, or from a file',
    args: ['SESSION', 'PATH', '[FILE]'],
    flags: {},
    settings: client,
    examples: [
      'atoll session files write ses_… data.csv ./data.csv',
      'date | atoll session files write ses_… now.txt',
    ],
    load: () => import('./commands/session-files-write.ts'),
  },
  'session files delete': {
    summary: 'Remove a workspace file or folder',
    args: ['SESSION', 'PATH'],
    flags: {},
    settings: client,
    examples: ['atoll session files delete ses_… tmp'],
    load: () => import('./commands/session-files-delete.ts'),
  },
  'credential set': {
    summary: 'Store a secret for gateways; its value comes from stdin, a prompt or a file',
    args: ['NAME'],
    flags: {
      kind: { value: 'KIND', summary: 'header, bearer, basic, anthropic, openai or mcp' },
      host: { value: 'HOST', many: true, summary: 'Host it goes to, or *.suffix (header, bearer, basic)' },
      url: { value: 'URL', summary: 'Where the service is (mcp; anthropic and openai have a default)' },
      header: { value: 'HEADER', summary: 'Header that carries it (header; mcp: default authorization)' },
      template: { value: 'TEXT', summary: 'What the header holds, with {value} in it (header, mcp)' },
      username: { value: 'NAME', summary: 'User name to the password (basic)' },
      agent: { value: 'AGENT', many: true, summary: 'Only for this agent (default: all)' },
      method: { value: 'METHOD', many: true, summary: 'Only with this HTTP method (default: all)' },
      path: { value: 'PATH', many: true, summary: 'Only at and below this path (default: all)' },
      'value-file': { value: 'FILE', summary: 'Read the value here; one line end after it is dropped' },
    },
    settings: client,
    examples: [
      'atoll credential set github --kind basic --host github.com --username x-access-token --agent reviewer',
      'atoll credential set npm --kind bearer --host npm.example.com --method GET --value-file npm.token',
      'pass show linear | atoll credential set linear --kind mcp --url https://mcp.linear.app/mcp',
    ],
    refusal:
      'a value is never an argument, where other users could see it; give it on stdin or by --value-file',
    load: () => import('./commands/credential-set.ts'),
  },
  'credential list': {
    summary: 'List credentials, never their values',
    args: [],
    flags: page,
    settings: client,
    examples: ['atoll credential list'],
    load: () => import('./commands/credential-list.ts'),
  },
  'credential delete': {
    summary: 'Remove a credential',
    args: ['NAME'],
    flags: {},
    settings: client,
    examples: ['atoll credential delete github'],
    load: () => import('./commands/credential-delete.ts'),
  },
  'keys create': {
    summary: 'Make an API key; its secret is shown this once',
    args: [],
    flags: {
      role: { value: 'ROLE', summary: 'admin, client (default) or runner' },
      tenant: { value: 'TENANT', summary: 'Tenant it belongs to' },
      name: { value: 'NAME', summary: 'What it is for' },
      'expires-at': { value: 'TIME', summary: 'ISO 8601 time after which it is refused' },
    },
    settings: client,
    examples: ['atoll keys create --name ci --role client'],
    load: () => import('./commands/keys-create.ts'),
  },
  'keys list': {
    summary: 'List API keys, never their secrets',
    args: [],
    flags: page,
    settings: client,
    examples: ['atoll keys list'],
    load: () => import('./commands/keys-list.ts'),
  },
  'keys delete': {
    summary: 'Revoke an API key at once',
    args: ['KEY-ID'],
    flags: {},
    settings: client,
    examples: ['atoll keys delete key_…'],
    load: () => import('./commands/keys-delete.ts'),
  },
  gateway: {
    summary: 'Open a gateway for an executor that runs outside of any sandbox',
    args: [],
    flags: {
      stub: { summary: 'Record what the executor says as JSON lines, and send it nowhere' },
      session: { value: 'SESSION', summary: 'Session to speak for (with --stub: the first that is named)' },
      epoch: { value: 'EPOCH', summary: 'Assignment of the session that the executor is of (default 1)' },
      profile: { value: 'NAME', summary: 'Executor profile to report (default program)' },
      port: { value: 'PORT', summary: 'Port on 127.0.0.1 (default: a free one)' },
    },
    settings: [
      ...client,
      'hostname',
      'oidcIssuer',
      'oidcAudience',
      'oidcScope',
      'oidcClientId',
      'oidcClientSecret',
      'oidcClientSecretFile',
      'logLevel',
    ],
    examples: [
      'atoll gateway --stub',
      'atoll gateway --session ses_… --server https://atoll.example.com --oidc-client-id runner-1',
    ],
    untilStopped: true,
    load: () => import('./commands/gateway.ts'),
  },
  doctor: {
    summary: 'Tell what is missing on this machine, and the command that mends it',
    args: [],
    flags: {},
    settings: [...client, 'driver'],
    examples: ['atoll doctor'],
    load: () => import('./commands/doctor.ts'),
  },
};
