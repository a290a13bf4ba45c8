import { openRpc } from '@atoll/protocol/openrpc';
import { operations } from '@atoll/protocol/operations';
import { workerMethods } from '@atoll/protocol/worker-methods';

/** The worker's OpenRPC document. */
export function discover(version: string): Record<string, unknown> {
  return openRpc({ title: 'Atoll worker', version, operations, own: workerMethods });
}
