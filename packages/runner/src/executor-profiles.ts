/**
 * Executor profiles: names under which a runner offers executors with settings of its operator's (`gemini`,
 * `claude-cheap`), beside one built-in profile for each kind. What an agent says lies over what its profile says.
 */
import { posix } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import { commandKinds, executorKinds } from '@atoll/protocol/executor-kinds';
import { parse } from '@atoll/protocol/parse';
import type { ExecutorRequest, ExecutorSettings } from '@atoll/protocol/runner-link';
import { approvals, command } from '@atoll/protocol/schemas/agent';
import { env, label, noNul, notArray } from '@atoll/protocol/schemas/common';
import { looksLikeSecret } from '@atoll/protocol/secrets';
import * as v from 'valibot';

export type ExecutorProfile = {
  readonly name: string;
  readonly settings: ExecutorSettings;
  /** Under the agent's own. */
  readonly env: Readonly<Record<string, string>>;
  /** Host paths that its sandboxes see, read-only, where they are on the host. */
  readonly mounts: readonly string[];
};

const MAX_PROFILES = 64;
/** Below these everything is the sandbox's own. */
export const ownPlaces = [
  '/workspace',
  '/home/agent',
  '/proc',
  '/dev',
  '/sys',
  '/etc',
  '/run',
  '/opt/atoll',
  '/opt/node',
];

const mount = v.pipe(
  v.string(),
  noNul,
  v.check((path) => path.startsWith('/') && posix.normalize(path) === path, 'must be an absolute path'),
  v.check(
    (path) => path !== '/tmp' && !ownPlaces.some((own) => isAt(own, path) || isAt(path, own)),
    'would cover what is the sandbox’s own',
  ),
);

const profile = notArray(
  v.strictObject({
    kind: v.picklist(executorKinds),
    command: v.optional(command),
    model: v.optional(label),
    permissionMode: v.optional(label),
    approvals: v.optional(approvals),
    env: v.optional(env, {}),
    /** Values in `env` may look like secrets: they are none. */
    allowSecretEnv: v.optional(v.boolean(), false),
    mounts: v.optional(v.pipe(v.array(mount), v.maxLength(64)), []),
  }),
);

const profiles = v.pipe(
  notArray(
    v.record(
      v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'must be a name of a-z, 0-9, ".", "_", "-"')),
      profile,
    ),
  ),
  v.check((all) => Object.keys(all).length <= MAX_PROFILES, `at most ${MAX_PROFILES} profiles`),
);

/** The profiles of a runner's configuration, and the built-in ones. Throws `invalid_request`, `secret_in_env`. */
export function readProfiles(configured: unknown): ExecutorProfile[] {
  const own = Object.entries(parse(profiles, configured)).map(([name, settings]) =>
    toProfile(name, settings),
  );
  const builtIn = executorKinds
    .filter((kind) => !own.some(({ name }) => name === kind))
    .map((kind) => ({ name: kind, settings: { kind }, env: {}, mounts: [] }));
  return [...builtIn, ...own];
}

function toProfile(name: string, read: v.InferOutput<typeof profile>): ExecutorProfile {
  const { env: variables, mounts, allowSecretEnv, ...settings } = read;
  const builtIn = executorKinds.find((kind) => kind === name);
  const wrong =
    builtIn !== undefined && settings.kind !== builtIn
      ? `"${name}": the profile of that name is of the kind ${name}`
      : settings.command !== undefined && !commandKinds.includes(settings.kind)
        ? `"${name}": the kind ${settings.kind} takes no command`
        : undefined;
  if (wrong !== undefined) throw new AtollError('invalid_request', wrong);
  if (!allowSecretEnv) refuseSecretEnv(name, variables);
  return { name, settings: present(settings), env: variables, mounts };
}

function refuseSecretEnv(name: string, variables: Readonly<Record<string, string>>): void {
  const found = Object.entries(variables).find(([key, value]) => looksLikeSecret(key, value));
  if (!found) return;
  throw new AtollError(
    'secret_in_env',
    `"${name}.env.${found[0]}" looks like a secret, and whatever runs in the sandbox could read it. Keep it outside with "atoll credential set", or set allowSecretEnv to true if it is none.`,
  );
}

/** Without the members that are there but undefined. */
function present<T extends { kind: ExecutorSettings['kind'] }>(settings: T): ExecutorSettings {
  const held = Object.entries(settings).filter(([, value]) => value !== undefined);
  return { kind: settings.kind, ...Object.fromEntries(held) };
}

export type AppliedProfile = {
  readonly profile: ExecutorProfile;
  /** The agent's settings over the profile's. */
  readonly executor: ExecutorSettings;
};

/** Rejects what the profile cannot do with `executor_failed`, and an unknown one with `no_runner`. */
export function applyProfile(
  all: readonly ExecutorProfile[],
  { profile: name, kind, ...asked }: ExecutorRequest,
): AppliedProfile {
  const found = all.find((known) => known.name === name);
  if (!found) throw new AtollError('no_runner', `this runner does not offer the executor profile ${name}`);
  const { settings } = found;
  if (kind !== undefined && kind !== settings.kind)
    throw new AtollError(
      'executor_failed',
      `the agent's executor is of the kind ${kind}, and its executor profile ${name} of the kind ${settings.kind}`,
    );
  const rules = { ...settings.approvals, ...asked.approvals };
  const executor = {
    ...settings,
    ...asked,
    ...(Object.keys(rules).length > 0 && { approvals: rules }),
  };
  if (commandKinds.includes(settings.kind) && executor.command === undefined)
    throw new AtollError(
      'executor_failed',
      `neither the agent nor its executor profile ${name} names a command to start`,
    );
  return { profile: found, executor };
}

/** Whether `path` is `place` or below it. */
export function isAt(path: string, place: string): boolean {
  return path === place || path.startsWith(place.endsWith('/') ? place : `${place}/`);
}
