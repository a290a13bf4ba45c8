/** Agents: folders by content hash, each deployment that differs a new version. */
import { AtollError } from '@atoll/protocol/errors';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import type { AgentManifest, AgentSource } from '@atoll/protocol/runner-link';
import type { Agent } from '@atoll/protocol/schemas/agent';
import { agentName } from '@atoll/protocol/schemas/common';
import type { BlobStore } from '../blob-store/blob-store.ts';
import type { Access } from '../keys/access.ts';
import { cursorAt, paged } from '../store/cursor.ts';
import type { Store } from '../store/store.ts';
import type { AgentRow, AgentVersionRow } from '../store/tables.ts';
import { type DecodedFile, decodeFolder, sha256 } from './folder.ts';
import { type AgentSettings, agentSettings, parseAgentConfig } from './settings.ts';

export type AgentVersion = { version: number; manifestHash: string; settings: AgentSettings };

export type Agents = {
  deploy(access: Access, params: OperationParams<'agent.deploy'>): Promise<Agent>;
  list(access: Access, params: OperationParams<'agent.list'>): Promise<OperationResult<'agent.list'>>;
  show(access: Access, name: string): Promise<OperationResult<'agent.show'>['agent']>;
  delete(access: Access, name: string): Promise<Agent>;
  /** The version asked for, or the latest. Rejects with `not_found`. */
  version(tenant: string, name: string, version?: number): Promise<AgentVersion>;
  /** Whose versions say, or once said, that sandboxes are to be made ahead. */
  prewarmed(): Promise<{ tenant: string; agent: string }[]>;
  /** What runners read agent folders from. */
  readonly source: AgentSource;
};

export function createAgents(options: {
  store: Store;
  blobs: BlobStore;
  now: () => number;
  /** It has a new version, or is gone. */
  onChanged: (tenant: string, name: string) => void;
}): Agents {
  const { store, blobs, now, onChanged } = options;
  const { sql } = store;

  async function deploy({ tenant }: Access, params: OperationParams<'agent.deploy'>): Promise<Agent> {
    const files = decodeFolder(params.files);
    const config = files.find((file) => file.path === 'atoll.json');
    const parsed = config ? parseAgentConfig(config.bytes) : {};
    if (
      (parsed.executor ?? params.executorProfile ?? parsed.executorProfile) === undefined &&
      !files.some(({ path }) => path === 'CLAUDE.md' || path === 'AGENTS.md')
    )
      throw new AtollError(
        'invalid_agent',
        'the folder has no CLAUDE.md, no AGENTS.md, and no executor or executorProfile in atoll.json',
      );
    const settings = agentSettings(parsed, params);
    const manifestHash = await storeFolder(tenant, files);
    const hash = sha256(`${manifestHash}\n${JSON.stringify(settings)}`);
    for (;;) {
      const done = await insertVersion({
        tenant,
        name: params.name,
        hash,
        manifestHash,
        settings: JSON.stringify(settings),
      });
      if (done) return done;
    }
  }

  async function storeFolder(tenant: string, files: readonly DecodedFile[]): Promise<string> {
    for (const file of files) await blobs.put(tenant, file.bytes);
    const manifest: AgentManifest = { files: files.map(({ bytes: _, ...entry }) => entry) };
    return blobs.put(tenant, Buffer.from(JSON.stringify(manifest)));
  }

  /** undefined: another deployment took the version number; look again. */
  async function insertVersion(row: {
    tenant: string;
    name: string;
    hash: string;
    manifestHash: string;
    settings: string;
  }): Promise<Agent | undefined> {
    const { tenant, name, hash, manifestHash, settings } = row;
    const latest = await latestVersion(tenant, name);
    if (latest?.hash === hash) return showAgent(await findAgent(tenant, name), latest);
    const at = new Date(now()).toISOString();
    const version = {
      tenant,
      agent: name,
      version: (latest?.version ?? 0) + 1,
      hash,
      manifest_hash: manifestHash,
      settings,
      created_at: at,
    };
    const agent = sql
      .insertInto('agents')
      .values({ tenant, name, created_at: at, updated_at: at })
      .onConflict((conflict) => conflict.columns(['tenant', 'name']).doUpdateSet({ updated_at: at }));
    const insert = sql
      .insertInto('agent_versions')
      .values(version)
      .onConflict((conflict) => conflict.doNothing());
    try {
      await store.commit([{ query: agent }, { query: insert, mustChange: { code: 'already_exists' } }]);
    } catch (error) {
      if (error instanceof AtollError && error.code === 'already_exists') return undefined;
      throw error;
    }
    onChanged(tenant, name);
    return showAgent(await findAgent(tenant, name), version);
  }

  function latestVersion(tenant: string, name: string): Promise<AgentVersionRow | undefined> {
    return store.first(versionsOf(tenant, name).orderBy('version', 'desc').limit(1));
  }

  function versionsOf(tenant: string, name: string) {
    return sql
      .selectFrom('agent_versions')
      .selectAll()
      .where('tenant', '=', tenant)
      .where('agent', '=', name);
  }

  async function findAgent(tenant: string, name: string): Promise<AgentRow> {
    const row = await store.first(
      sql.selectFrom('agents').selectAll().where('tenant', '=', tenant).where('name', '=', name),
    );
    if (!row) throw new AtollError('not_found', `no agent ${name}`);
    return row;
  }

  async function list(access: Access, { limit, cursor }: OperationParams<'agent.list'>) {
    let query = sql
      .selectFrom('agents')
      .selectAll()
      .where('tenant', '=', access.tenant)
      .orderBy('name')
      .limit(limit + 1);
    if (cursor !== undefined) query = query.where('name', '>', cursorAt(agentName, cursor));
    const { page, nextCursor } = paged(await store.all(query), limit, ({ name }) => name);
    const agents: Agent[] = [];
    for (const row of page) {
      const latest = await latestVersion(row.tenant, row.name);
      if (latest) agents.push(showAgent(row, latest));
    }
    return { agents, nextCursor };
  }

  async function show({ tenant }: Access, name: string) {
    const row = await findAgent(tenant, name);
    const rows = await store.all(versionsOf(tenant, name).orderBy('version', 'desc'));
    const [latest] = rows;
    if (!latest) throw new AtollError('internal', `agent ${name} has no version`);
    const versions = await Promise.all(rows.map((version) => showVersion(tenant, version)));
    return { ...showAgent(row, latest), versions };
  }

  async function showVersion(tenant: string, row: AgentVersionRow) {
    const { files } = await readManifest(tenant, row.manifest_hash);
    return {
      version: row.version,
      hash: row.hash,
      files: files.length,
      sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
      settings: JSON.parse(row.settings) as Record<string, unknown>,
      createdAt: row.created_at,
    };
  }

  async function remove(access: Access, name: string): Promise<Agent> {
    const { tenant } = access;
    const row = await findAgent(tenant, name);
    const latest = await latestVersion(tenant, name);
    const live = sql
      .selectFrom('sessions')
      .select('id')
      .where('tenant', '=', tenant)
      .where('agent', '=', name)
      .where('status', 'not in', ['ended', 'failed']);
    const inUse = { code: 'agent_in_use', detail: `${name} has sessions that have not ended` } as const;
    const query = sql
      .deleteFrom('agents')
      .where('tenant', '=', tenant)
      .where('name', '=', name)
      .where(({ not, exists }) => not(exists(live)));
    const versions = sql.deleteFrom('agent_versions').where('tenant', '=', tenant).where('agent', '=', name);
    await store.commit([{ query, mustChange: inUse }, { query: versions }]);
    onChanged(tenant, name);
    if (!latest) throw new AtollError('internal', `agent ${name} has no version`);
    return showAgent(row, latest);
  }

  async function version(tenant: string, name: string, wanted?: number): Promise<AgentVersion> {
    const row = await (wanted === undefined
      ? latestVersion(tenant, name)
      : store.first(versionsOf(tenant, name).where('version', '=', wanted)));
    if (!row)
      throw new AtollError(
        'not_found',
        wanted === undefined ? `no agent ${name}` : `agent ${name} has no version ${wanted}`,
      );
    return {
      version: row.version,
      manifestHash: row.manifest_hash,
      settings: JSON.parse(row.settings) as AgentSettings,
    };
  }

  async function readManifest(tenant: string, hash: string): Promise<AgentManifest> {
    return JSON.parse(Buffer.from(await blobs.get(tenant, hash)).toString()) as AgentManifest;
  }

  return {
    deploy,
    list,
    show,
    delete: remove,
    version,
    prewarmed: () =>
      store.all(
        sql
          .selectFrom('agent_versions')
          .select(['tenant', 'agent'])
          .distinct()
          .where('settings', 'like', '%"prewarm":%'),
      ),
    source: {
      manifest: ({ tenant, hash }) => readManifest(tenant, hash),
      file: ({ tenant, hash }) => blobs.get(tenant, hash),
    },
  };
}

function showAgent(row: AgentRow, latest: { version: number; hash: string }): Agent {
  return {
    name: row.name,
    version: latest.version,
    hash: latest.hash,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
