/**
 * How a session begins. With a sandbox that was made ahead: it is told whose it is, and then one commit makes the session
 * and says that it is ready. A crash between the two leaves a sandbox of nobody's, which ends with its server as every one
 * that waits. Otherwise with a new sandbox, made once the session and its place are on disk.
 */
import { newId } from '@atoll/protocol/ids';
import type { OperationParams } from '@atoll/protocol/operations';
import type { Session } from '@atoll/protocol/schemas/session';
import { refuseSecrets } from '@atoll/protocol/secrets';
import type { Agents } from '../agents/agents.ts';
import type { Access } from '../keys/access.ts';
import type { Log } from '../log/log.ts';
import type { Step, Store } from '../store/store.ts';
import type { SessionRow } from '../store/tables.ts';
import { checkpointAt } from './checkpoints.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { LiveSession } from './live-session.ts';
import type { LiveSessions } from './live-sessions.ts';
import { refuseLargeMetadata } from './reported.ts';
import { insertSession, showLive } from './rows.ts';
import { sandboxSettings } from './settings.ts';
import type { WarmPool } from './warm-pool.ts';

export type Create = (
  access: Access,
  params: OperationParams<'session.create'>,
  traceparent: string,
) => Promise<Session>;

export function createCreating(options: {
  store: Store;
  log: Log;
  agents: Agents;
  live: LiveSessions;
  warm: WarmPool;
  lifecycle: Lifecycle;
  now: () => number;
}): Create {
  const { store, log, agents, live, warm, lifecycle, now } = options;

  /** What it was made with is not in the log: a checkpoint before its first event says it. */
  function newSessionSteps({ row, state, reported }: LiveSession): Step[] {
    const place = { log, logId: row.log_id, tenant: row.tenant };
    return [
      insertSession(store, row),
      ...log.create({ ...row, sessionId: row.id, createdAt: row.created_at }),
      ...(row.metadata === '{}' ? [] : [checkpointAt(place, 0, { state, reported })]),
    ];
  }

  return async ({ tenant }, params, traceparent) => {
    const { agent, version: wanted, metadata = {}, allowSecretEnv = false, ...own } = params;
    if (!allowSecretEnv) refuseSecrets(own.env ?? {});
    refuseLargeMetadata(metadata);
    const { version, manifestHash, settings: ofAgent } = await agents.version(tenant, agent, wanted);
    const settings = sandboxSettings(manifestHash, ofAgent, own);
    const { executor, env } = settings;
    const claimed = await warm.claim({ tenant, agent, version, own }, { executor, env, traceparent });
    const row = newRow({
      ...{ id: claimed?.sessionId ?? newId('session'), tenant, agent, agent_version: version },
      ...{ settings: JSON.stringify(own), metadata: JSON.stringify(metadata) },
      created_at: new Date(now()).toISOString(),
    });
    const session = live.add(row);
    const rows = newSessionSteps(session);
    try {
      if (claimed) await lifecycle.begin(session, rows, claimed);
      else await lifecycle.open(session, { rows, settings, traceparent });
    } catch (error) {
      live.delete(row.id);
      if (claimed) await warm.discard(claimed);
      throw error;
    }
    return showLive(session);
  };
}

type Given = 'id' | 'tenant' | 'agent' | 'agent_version' | 'settings' | 'metadata' | 'created_at';

function newRow(given: Pick<SessionRow, Given>): SessionRow {
  return {
    ...given,
    status: 'starting',
    cause: null,
    detail: null,
    epoch: 0,
    runner_id: null,
    sandbox_id: null,
    log_id: given.id,
    parent_id: null,
    parent_seq: null,
    snapshot_seq: null,
    usage: '{}',
    binding: '{}',
    updated_at: given.created_at,
    ended_at: null,
  };
}
