import * as v from 'valibot';
import { approvalPolicies } from '../approvals.ts';
import { agentName, count, env, image, jsonObject, label, noNul, notArray, time } from './common.ts';
import { host } from './credential.ts';

/** A file of an agent folder; `content` is strict base64. */
export const agentFile = v.strictObject({
  path: v.string(),
  content: v.string(),
  /** Owner may execute it; everything else about modes is Atoll's. */
  executable: v.optional(v.boolean(), false),
});

export const demands = notArray(
  v.strictObject({
    labels: v.optional(notArray(v.record(label, label))),
    executorProfile: v.optional(label),
    driver: v.optional(label),
    memoryMb: v.optional(v.pipe(count, v.minValue(1))),
  }),
);

export const limits = notArray(
  v.strictObject({
    memoryMb: v.optional(v.pipe(count, v.minValue(64), v.maxValue(1024 * 1024))),
    cpu: v.optional(v.pipe(v.number(), v.minValue(0.05), v.maxValue(1024))),
    processes: v.optional(v.pipe(count, v.minValue(16), v.maxValue(100_000))),
    diskMb: v.optional(v.pipe(count, v.minValue(1), v.maxValue(16 * 1024 * 1024))),
    openFiles: v.optional(v.pipe(count, v.minValue(64), v.maxValue(1_048_576))),
    wallTimeMs: v.optional(v.pipe(count, v.minValue(1000))),
    /** Of the whole session: calls that cost tokens, and tokens read and written. */
    modelRequests: v.optional(v.pipe(count, v.minValue(1))),
    modelTokens: v.optional(v.pipe(count, v.minValue(1))),
  }),
);

export const command = v.pipe(
  v.array(v.pipe(v.string(), v.minLength(1), noNul)),
  v.minLength(1),
  v.maxLength(64),
);

/** How an agent folder names its executor: by kind alone, or with what the kind needs. */
export const executor = v.union(
  [
    v.picklist(['claude', 'codex']),
    v.strictObject({ kind: v.picklist(['claude', 'codex']) }),
    v.strictObject({ kind: v.picklist(['acp', 'program']), command }),
  ],
  'must be "claude", "codex", or {"kind": "acp" or "program", "command": ["PROGRAM", "ARGUMENT", …]}',
);

/** By pattern of tool names: `Bash`, `mcp__github__*`, `*`. The longest pattern that fits counts. */
export const approvals = v.pipe(
  notArray(
    v.record(
      v.pipe(v.string(), v.regex(/^[A-Za-z0-9_*.:-]{1,256}$/, 'must be a tool name, with * for anything')),
      v.picklist(approvalPolicies),
    ),
  ),
  v.check((entries) => Object.keys(entries).length <= 256, 'at most 256 patterns'),
);

/** `atoll.json` in an agent folder. */
export const agentConfig = notArray(
  v.strictObject({
    $schema: v.optional(v.string()),
    executor: v.optional(executor),
    executorProfile: v.optional(label),
    demands: v.optional(demands),
    limits: v.optional(limits),
    env: v.optional(env),
    /** Values in `env` may look like secrets: they are none. */
    allowSecretEnv: v.optional(v.boolean()),
    model: v.optional(label),
    permissionMode: v.optional(label),
    approvals: v.optional(approvals),
    /** What its sandboxes run in; takes a runner whose driver has images. */
    image: v.optional(image),
    /** How many sandboxes wait, made ahead, for sessions of its latest version. */
    prewarm: v.optional(v.pipe(count, v.maxValue(1000))),
    /** The hosts that the agent may reach, on ports 80 and 443; left out: none. */
    egress: v.optional(v.pipe(v.array(host), v.maxLength(256, 'at most 256 hosts'))),
  }),
);
export type AgentConfig = v.InferOutput<typeof agentConfig>;

export const agentVersion = v.object({
  version: count,
  hash: v.string(),
  files: count,
  sizeBytes: count,
  settings: jsonObject,
  createdAt: time,
});

export const agent = v.object({
  name: agentName,
  /** The latest version. */
  version: count,
  hash: v.string(),
  createdAt: time,
  updatedAt: time,
});
export type Agent = v.InferOutput<typeof agent>;
export const agentWithVersions = v.object({ ...agent.entries, versions: v.array(agentVersion) });
