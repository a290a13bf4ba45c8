import * as v from 'valibot';
import { approvalKinds, approvalOptions, approvalPolicies, isTooDeep } from '../approvals.ts';
import { executorKinds } from '../executor-kinds.ts';
import { sandboxStatuses } from '../statuses.ts';
import { count, jsonObject, label, noNul, text } from './common.ts';
import { hash } from './internal.ts';
import { tenant } from './platform.ts';

/** What a coordinator asks of a runner elsewhere (protocols §2): the types of runner-link.ts, checked at its edge. */

/** Ids become names of files. */
export const fileId = v.pipe(v.string(), v.regex(/^[a-z]+_[0-9a-z]{1,64}$/, 'must be an id'));
const traceparent = v.exactOptional(label);
const texts = v.array(text);
const variables = v.record(v.string(), v.pipe(v.string(), noNul));

const executor = v.strictObject({
  profile: label,
  kind: v.exactOptional(v.picklist(executorKinds)),
  command: v.exactOptional(texts),
  model: v.exactOptional(label),
  systemPrompt: v.exactOptional(text),
  permissionMode: v.exactOptional(label),
  allowedTools: v.exactOptional(texts),
  disallowedTools: v.exactOptional(texts),
  mcpServers: v.exactOptional(jsonObject),
  approvals: v.exactOptional(v.record(v.string(), v.picklist(approvalPolicies))),
});

const limit = v.exactOptional(v.pipe(v.number(), v.minValue(0)));
const limits = v.strictObject({
  memoryMb: limit,
  cpu: limit,
  processes: limit,
  diskMb: limit,
  openFiles: limit,
  wallTimeMs: limit,
});

const snapshotSource = v.strictObject({ root: hash, epoch: count });

export const sandboxRequest = v.strictObject({
  id: fileId,
  sessionId: v.exactOptional(fileId),
  tenant,
  agentHash: v.exactOptional(hash),
  workspaceId: fileId,
  parked: v.exactOptional(v.boolean()),
  image: v.exactOptional(label),
  fresh: v.boolean(),
  snapshot: v.exactOptional(snapshotSource),
  executor: v.exactOptional(executor),
  executorSessionId: v.exactOptional(text),
  executorBranches: v.exactOptional(v.boolean()),
  env: variables,
  limits: v.exactOptional(limits),
  budget: v.exactOptional(
    v.strictObject({ requests: v.exactOptional(count), tokens: v.exactOptional(count) }),
  ),
  egress: v.exactOptional(v.array(label)),
});

export const newSandbox = { jobId: label, epoch: count, traceparent, sandbox: sandboxRequest };

export const newClaim = { epoch: count, traceparent, executor, env: variables };

const query = v.strictObject({
  method: v.literal('query'),
  params: v.strictObject({ turnId: label, content: v.unknown(), options: v.looseObject({}) }),
});
const exec = v.strictObject({
  method: v.literal('exec'),
  params: v.strictObject({
    command: v.pipe(v.string(), v.minLength(1), noNul),
    cwd: v.exactOptional(v.pipe(v.string(), noNul)),
    timeoutMs: v.exactOptional(count),
  }),
});

export const newCommand = {
  commandId: label,
  epoch: count,
  traceparent,
  command: v.variant('method', [query, exec]),
};

export const sandboxShown = v.object({
  id: v.string(),
  sessionId: v.exactOptional(v.string()),
  epoch: count,
  status: v.picklist(sandboxStatuses),
  lastLine: count,
  commands: v.array(v.string()),
});

export const takenSnapshot = v.object({
  root: hash,
  files: count,
  sizeBytes: count,
  storedBytes: count,
  skipped: v.object({
    count,
    first: v.array(v.object({ path: v.string(), reason: v.string() })),
  }),
});

const endings = {
  cause: v.exactOptional(v.string()),
  detail: v.exactOptional(v.string()),
};

/** Written out again as it came, which takes a stack. */
const shallowObject = v.pipe(
  jsonObject,
  v.check((value) => !isTooDeep(value), 'is nested too deep'),
);

/** Data of the events of a command, by their names; that of a `message` is nobody's to read (I3). */
export const commandEvents = {
  log: v.object({ text: v.string() }),
  stdout: v.object({ text: v.string() }),
  stderr: v.object({ text: v.string() }),
  approval: v.object({
    requestId: v.string(),
    request: v.object({
      kind: v.picklist(approvalKinds),
      tool: v.string(),
      input: shallowObject,
      options: v.array(v.picklist(approvalOptions)),
    }),
  }),
  end: v.object({
    status: v.picklist(['completed', 'failed', 'interrupted']),
    ...endings,
    executorSessionId: v.exactOptional(v.string()),
    usage: v.exactOptional(shallowObject),
    exitCode: v.exactOptional(v.nullable(v.number())),
    timedOut: v.exactOptional(v.boolean()),
    sandboxEnded: v.exactOptional(v.boolean()),
  }),
} as const;
