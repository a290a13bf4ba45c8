import type { OperationResult } from '@atoll/protocol/operations';
import type { Coordinator, RunnerLink } from '@atoll/protocol/runner-link';
import type { OidcIssuer } from './keys/jwts.ts';
import type { Logger } from './logger.ts';
import type { RetentionSettings } from './retention/retention.ts';
import type { ConnectionOptions } from './rpc/connection.ts';
import type { RunnerInfo } from './runners/registry.ts';

export type ServerOptions = {
  /** Kept 0700; holds the database, blobs and the admin key. */
  dataDir: string;
  version: string;
  log: Logger;
  /** 32 bytes that seal credentials. Default: those in `secret.key` of the data directory, made at first need. */
  secretKey?: Uint8Array | undefined;
  /** Whose JWTs are taken, besides API keys. */
  oidc?: OidcIssuer | undefined;
  /** Makes the runner in this process. Called once; it lives as long as the server. */
  runner?: (coordinator: Coordinator) => Promise<EmbeddedRunner>;
  /** Where runners may dial in; absent: nowhere. */
  grpc?: GrpcOptions | undefined;
  /** An idle session's sandbox is freed after this; 0: never. Default 30 minutes. */
  idlePauseMs?: number;
  /** What goes when it is old. Default: nothing. */
  retention?: RetentionSettings;
  now?: () => number;
};

export type GrpcOptions = {
  /** 0: any free one. */
  port: number;
  /** PEM. With `clientCa`, runners have to show a certificate of that authority. */
  tls: { cert: Buffer; key: Buffer; clientCa: Buffer | undefined } | undefined;
  /** Where runners find the HTTP API; default: where it listens. */
  apiUrl: string | undefined;
};

/** Who speaks JSON-RPC with the server. */
export type Host = Pick<ConnectionOptions, 'channel' | 'token' | 'endsOnLongLine' | 'legacy'>;

export type EmbeddedRunner = { link: RunnerLink; info: RunnerInfo; stop(): Promise<void> };

export type Health = OperationResult<'health.show'>;
