/**
 * How Codex is set up. What the process needs before it can be asked for anything is on argv; the rest goes over stdin
 * with the thread, since argv can be read by every process in the sandbox and server settings hold headers (I7).
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutorSettings } from '@atoll/protocol/runner-link';
import { isRecord } from '../params.ts';
import { policyFor } from './codex-policy.ts';

type Env = Readonly<Record<string, string | undefined>>;

const PROVIDER = 'atoll';
const KEY_VARIABLE = 'OPENAI_API_KEY';
const OPENAI = 'https://api.openai.com/v1';

/** No traffic but to the model, and nothing that goes on by itself when a turn is over. */
const FEATURES = {
  apps: false,
  goals: false,
  in_app_updates: false,
  plugins: false,
  remote_plugin: false,
  skill_mcp_dependency_install: false,
  unbounded_connection_retries: false,
  // Lets the agent ask its user, who has the means to answer here.
  default_mode_request_user_input: true,
};

/** What its home may hold that would change what it does: an agent can write there, and the agent's folder decides. */
const SETTINGS_IN_HOME = ['config.toml', 'hooks.json', 'rules'];

/** Its memory lies in the sandbox's home, and so in every snapshot. */
export async function prepareHome(env: Env): Promise<string> {
  const home = join(env.HOME ?? '/', '.codex');
  await mkdir(home, { recursive: true, mode: 0o700 });
  for (const name of SETTINGS_IN_HOME) await rm(join(home, name), { recursive: true, force: true });
  return home;
}

export function processArguments(workspace: string): string[] {
  const features = Object.entries(FEATURES).map(([name, on]) => `features.${name}=${on}`);
  // Whoever deploys an agent folder trusts its .codex; nobody is there to answer Codex's question.
  const trust = `projects={${JSON.stringify(workspace)}={trust_level="trusted"}}`;
  const quiet = ['analytics.enabled=false', 'check_for_update_on_startup=false', 'feedback.enabled=false'];
  const settings = [...features, trust, ...quiet, 'suppress_unstable_features_warning=true'];
  return ['app-server', ...settings.flatMap((setting) => ['-c', setting])];
}

export function processEnv(env: Env, home: string): Record<string, string | undefined> {
  // Without any key it does not ask the model at all; the real one is added outside.
  return { ...env, CODEX_HOME: home, NO_COLOR: '1', [KEY_VARIABLE]: env[KEY_VARIABLE] ?? 'none' };
}

/** For `thread/start` and `thread/resume`. */
export function threadParams(settings: ExecutorSettings, workspace: string, env: Env) {
  const { model, systemPrompt, mcpServers = {} } = settings;
  return {
    cwd: workspace,
    // Its own sandbox needs namespaces, which ours forbids. With this policy it asks about everything it would do.
    sandbox: 'danger-full-access',
    approvalPolicy: 'untrusted',
    approvalsReviewer: 'user',
    ...(model !== undefined && { model }),
    ...(systemPrompt !== undefined && { baseInstructions: systemPrompt }),
    config: {
      model_provider: PROVIDER,
      model_providers: {
        [PROVIDER]: {
          name: 'Atoll',
          base_url: env.OPENAI_BASE_URL ?? OPENAI,
          env_key: KEY_VARIABLE,
          wire_api: 'responses',
          supports_websockets: false,
        },
      },
      project_doc_fallback_filenames: ['CLAUDE.md'],
      // The provider searches, so nobody can be asked about a search.
      web_search: policyFor(settings, 'web_search') === 'always_allow' ? 'live' : 'disabled',
      mcp_servers: Object.fromEntries(
        Object.entries(mcpServers).map(([name, server]) => [name, mcpServer(server)]),
      ),
    },
  };
}

/** From the form that all executors take. Every call is asked about, so that the policies see it. */
function mcpServer(server: unknown): Record<string, unknown> {
  const { type: _, headers, ...rest } = isRecord(server) ? server : {};
  return {
    ...rest,
    ...(isRecord(headers) && { http_headers: headers }),
    default_tools_approval_mode: 'prompt',
  };
}
