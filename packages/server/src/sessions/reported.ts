/** What a session's row keeps beside its state. */
import { AtollError } from '@atoll/protocol/errors';
import { maxMetadataBytes } from '@atoll/protocol/schemas/session';

/** The executor that said it works for the session. */
export type BoundExecutor = {
  executorSessionId: string;
  projectDir: string | null;
  hostname: string | null;
  executorProfile: string | null;
};

/** What an executor or a client said of a session: no decision of ours is taken by it. */
export type Reported = {
  readonly bound: BoundExecutor | null;
  readonly metadata: Readonly<Record<string, unknown>>;
};

/** Throws `body_too_large`. */
export function refuseLargeMetadata(metadata: Reported['metadata']): void {
  if (Buffer.byteLength(JSON.stringify(metadata)) > maxMetadataBytes)
    throw new AtollError('body_too_large', `metadata takes ${maxMetadataBytes} bytes at most`);
}
