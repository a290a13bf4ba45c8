import * as v from 'valibot';
import { count, label, time } from './common.ts';
import { credentialName } from './credential.ts';

/** One request of a sandbox that its gateway let pass or refused, or one tunnel. What it says in it is not in here. */
export const accessRecord = v.strictObject({
  /** When it began. */
  time,
  /** The way that it took: as a proxy request, or on one of the gateway's own rows. */
  via: v.picklist(['egress', 'model', 'mcp']),
  method: label,
  host: label,
  port: v.pipe(count, v.maxValue(65_535)),
  decision: v.picklist(['allowed', 'refused']),
  /** Of the error registry: why it was refused, or got no answer. */
  code: v.optional(label),
  /** By its name; the value is nowhere. */
  credential: v.optional(credentialName),
  /** What the upstream answered; a tunnel's inside is not seen. */
  status: v.optional(count),
  /** Of bodies, or of all that went through a tunnel. */
  sentBytes: count,
  receivedBytes: count,
  durationMs: count,
});
export type AccessRecord = v.InferOutput<typeof accessRecord>;

/** The most that a gateway hands over at a time. */
export const maxAccessRecords = 100;
