import * as v from 'valibot';
import { accessRecord, maxAccessRecords } from './access.ts';
import { count } from './common.ts';

/** What a runner elsewhere asks of its coordinator, besides its lease. */

/** SHA-256 of the content, in hex. */
export const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in hex'));

export const agentManifest = v.object({
  files: v.array(v.object({ path: v.string(), hash, sizeBytes: count, executable: v.boolean() })),
});

const texts = v.pipe(v.array(v.string()), v.readonly());

const target = v.variant('at', [
  v.object({ at: v.literal('hosts'), hosts: texts }),
  v.object({ at: v.picklist(['anthropic', 'openai']), url: v.string() }),
  v.object({ at: v.literal('mcp'), server: v.string(), url: v.string() }),
]);

/** A credential as a gateway uses it: with its value, which is for the memory of that gateway alone (I7). */
export const gatewayCredential = v.object({
  name: v.string(),
  version: count,
  target,
  methods: v.optional(texts),
  paths: v.optional(texts),
  header: v.object({ name: v.string(), value: v.string() }),
  secrets: texts,
});

export const accessReport = {
  epoch: count,
  records: v.pipe(v.array(accessRecord), v.maxLength(maxAccessRecords)),
  dropped: count,
};

export const modelUse = { requests: count, tokens: count };
