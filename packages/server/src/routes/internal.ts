/** What runners elsewhere ask: the operations of `internalOperations`. A runner's key reaches its own tenant only (I12). */
import { AtollError } from '@atoll/protocol/errors';
import type { internalOperations } from '@atoll/protocol/internal-operations';
import type { FileContent, SnapshotBlobs } from '@atoll/protocol/runner-link';
import type { Agents } from '../agents/agents.ts';
import type { Credentials } from '../credentials/credentials.ts';
import type { Fleet } from '../fleet.ts';
import { gatherBlob } from '../gather-blob.ts';
import type { Access } from '../keys/access.ts';
import type { Sessions } from '../sessions/sessions.ts';
import type { Handlers } from './handler.ts';

type InternalHandlers = Pick<Handlers, keyof typeof internalOperations>;

export function createInternalHandlers(options: {
  fleet: () => Promise<Fleet>;
  sessions: Sessions;
  agents: Agents;
  credentials: Credentials;
  snapshots: SnapshotBlobs;
}): InternalHandlers {
  const { fleet, sessions, agents, credentials, snapshots } = options;
  return {
    'runner.register': async (params, { access }) => (await fleet()).register(access, params),
    'runner.heartbeat': async (params, { access }) => (await fleet()).heartbeat(access, params),
    'runner.deregister': async (params, { access }) => (await fleet()).deregister(access, params),
    'session.token.create': (params, { access }) => sessions.token(access, params),
    'session.credentials.get': async (params, { access }) => ({
      credentials: await credentials.credentialsFor(await sessions.assigned(access, params)),
    }),
    'session.access.record': async (params, { access }) => {
      await sessions.recordAccess(access, params);
      return {};
    },
    'session.model-use.add': (params, { access }) => sessions.modelUse(access, params),
    'agent.manifest.get': async (params, { access }) => {
      refuseForeign(access, params);
      return agents.source.manifest(params);
    },
    'agent.file.get': async (params, { access }) => {
      refuseForeign(access, params);
      return asFile(await agents.source.file(params));
    },
    'snapshot.blob.get': async (params, { access }) => {
      refuseForeign(access, params);
      return asFile(await snapshots.get(params));
    },
    'snapshot.blob.put': async ({ tenant, hash }, { access }, body) => {
      refuseForeign(access, { tenant, hash });
      const content = await gatherBlob(body);
      const { createHash } = process.getBuiltinModule('node:crypto');
      if (createHash('sha256').update(content).digest('hex') !== hash)
        throw new AtollError('invalid_request', 'the content has another hash than the path says');
      return { hash: await snapshots.put({ tenant, content }) };
    },
  };
}

/** Another tenant's content looks like content that nobody has. */
function refuseForeign(access: Access, { tenant, hash }: { tenant: string; hash: string }): void {
  if (!access.may(tenant)) throw new AtollError('not_found', `no blob ${hash}`);
}

function asFile(bytes: Uint8Array): FileContent {
  return {
    sizeBytes: bytes.length,
    contentBytes: bytes.length,
    modifiedAt: new Date(0).toISOString(),
    content: once(bytes),
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
