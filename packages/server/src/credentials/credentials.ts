/**
 * The write-only store of secrets for gateways (I7). A value comes in by `set`, is sealed, and is in the clear again in
 * `credentialsFor` alone; no operation gives it back. Setting a credential again takes the value anew, whatever else
 * changes: nobody turns a stored value to a host of their own.
 *
 * Rows are sealed with one secret key. Where that is not the one at hand, nothing is sealed, opened or replaced; what is
 * there can be listed and deleted.
 */
import { AtollError } from '@atoll/protocol/errors';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import { parse } from '@atoll/protocol/parse';
import type { GatewayCredential } from '@atoll/protocol/runner-link';
import {
  type Credential,
  credentialName,
  credentialUse,
  fitsHeader,
} from '@atoll/protocol/schemas/credential';
import type { Access } from '../keys/access.ts';
import type { Logger } from '../logger.ts';
import { cursorAt, paged } from '../store/cursor.ts';
import type { Store } from '../store/store.ts';
import type { CredentialRow } from '../store/tables.ts';
import { type CredentialSettings, deliver } from './delivery.ts';
import { createSealer, type Sealer, wrongKey } from './seal.ts';
import { makeSecretKey, readSecretKey } from './secret-key.ts';

export type Credentials = {
  /** A new one, or the next version of the one with this name. */
  set(access: Access, params: OperationParams<'credential.set'>): Promise<Credential>;
  list(
    access: Access,
    params: OperationParams<'credential.list'>,
  ): Promise<OperationResult<'credential.list'>>;
  delete(access: Access, name: string): Promise<Credential>;
  /**
   * In the clear, for the gateway of a session of this agent and for nobody else. Those that are for this agent alone
   * come first, each in the order of their names: where several fit a request, the first counts.
   */
  credentialsFor(session: { tenant: string; agent: string }): Promise<GatewayCredential[]>;
  /** Logs an error when the stored credentials cannot be opened; the server is of use without them. */
  checkKey(): Promise<void>;
};

export function createCredentials(options: {
  store: Store;
  now: () => number;
  logger: Logger;
  /** The key when it comes from outside. */
  secretKey: Uint8Array | undefined;
  /** Where it is kept otherwise. */
  keyFile: string;
}): Credentials {
  const { store, now, logger, secretKey, keyFile } = options;
  const { sql } = store;
  let sealing: Promise<Sealer> | undefined;

  /** Remembered once it is right; until then, each need for it looks again. */
  function sealer(): Promise<Sealer> {
    sealing ??= findSealer().catch((error: unknown) => {
      sealing = undefined;
      throw error;
    });
    return sealing;
  }

  async function findSealer(): Promise<Sealer> {
    const found = createSealer(secretKey ?? (await readSecretKey(keyFile)) ?? (await firstKey()));
    const other = await store.first(
      sql.selectFrom('credentials').select('key_id').where('key_id', '!=', found.keyId).limit(1),
    );
    if (other) throw wrongKey(other.key_id, found.keyId);
    return found;
  }

  async function firstKey(): Promise<Uint8Array> {
    if (await isEmpty()) return makeSecretKey(keyFile);
    throw new AtollError(
      'wrong_secret_key',
      `there are stored credentials, but ${keyFile} is gone and ATOLL_SECRET_KEY is not set; bring back the one they were sealed with, or delete them and set them again`,
    );
  }

  async function isEmpty(): Promise<boolean> {
    return (await store.first(sql.selectFrom('credentials').select('name').limit(1))) === undefined;
  }

  async function set({ tenant }: Access, params: OperationParams<'credential.set'>): Promise<Credential> {
    const { name, value, agents, methods, paths, ...use } = params;
    const settings: CredentialSettings = { ...parse(credentialUse, use), agents, methods, paths };
    if (settings.kind !== 'basic' && !fitsHeader(value))
      throw new AtollError(
        'invalid_request',
        '"value": must be printable ASCII without spaces around it, since it goes into a header',
      );
    const { seal, keyId, fingerprint } = await sealer();
    const text = JSON.stringify(settings);
    for (;;) {
      const before = await find(tenant, name);
      const at = new Date(now()).toISOString();
      const place = { tenant, name, version: (before?.version ?? 0) + 1, settings: text };
      const row: CredentialRow = {
        ...place,
        key_id: keyId,
        sealed: seal(value, place),
        fingerprint: fingerprint(value, place),
        created_at: before?.created_at ?? at,
        updated_at: at,
      };
      if (await write(row, before)) return show(row);
    }
  }

  /** false: somebody else wrote or removed it meanwhile; look again. */
  async function write(row: CredentialRow, before: CredentialRow | undefined): Promise<boolean> {
    const query = before
      ? sql
          .updateTable('credentials')
          .set(row)
          .where('tenant', '=', row.tenant)
          .where('name', '=', row.name)
          .where('version', '=', before.version)
      : sql
          .insertInto('credentials')
          .values(row)
          .onConflict((conflict) => conflict.doNothing());
    try {
      await store.commit([{ query, mustChange: { code: 'already_exists' } }]);
      return true;
    } catch (error) {
      if (error instanceof AtollError && error.code === 'already_exists') return false;
      throw error;
    }
  }

  function find(tenant: string, name: string): Promise<CredentialRow | undefined> {
    return store.first(
      sql.selectFrom('credentials').selectAll().where('tenant', '=', tenant).where('name', '=', name),
    );
  }

  async function list({ tenant }: Access, { limit, cursor }: OperationParams<'credential.list'>) {
    let query = sql
      .selectFrom('credentials')
      .selectAll()
      .where('tenant', '=', tenant)
      .orderBy('name')
      .limit(limit + 1);
    if (cursor !== undefined) query = query.where('name', '>', cursorAt(credentialName, cursor));
    const { page, nextCursor } = paged(await store.all(query), limit, ({ name }) => name);
    return { credentials: page.map(show), nextCursor };
  }

  async function remove({ tenant }: Access, name: string): Promise<Credential> {
    const row = await find(tenant, name);
    const none = { code: 'not_found', detail: `no credential ${name}` } as const;
    if (!row) throw new AtollError(none.code, none.detail);
    const query = sql.deleteFrom('credentials').where('tenant', '=', tenant).where('name', '=', name);
    await store.commit([{ query, mustChange: none }]);
    return show(row);
  }

  async function credentialsFor({ tenant, agent }: { tenant: string; agent: string }) {
    const rows = await store.all(
      sql.selectFrom('credentials').selectAll().where('tenant', '=', tenant).orderBy('name'),
    );
    const theirs = rows.filter((row) => settingsOf(row).agents?.includes(agent) ?? true);
    if (theirs.length === 0) return [];
    const { open } = await sealer();
    const ordered = theirs.toSorted((a, b) => Number(isForAll(a)) - Number(isForAll(b)));
    return ordered.map((row) => deliver(row, settingsOf(row), open(row.sealed, row)));
  }

  return {
    set,
    list,
    delete: remove,
    credentialsFor,
    async checkKey() {
      try {
        if (!(await isEmpty())) await sealer();
      } catch (error) {
        if (!(error instanceof AtollError)) throw error;
        logger.error({ code: error.code, err: error.cause }, error.detail);
      }
    },
  };
}

function isForAll(row: CredentialRow): boolean {
  return settingsOf(row).agents === undefined;
}

function settingsOf({ settings }: CredentialRow): CredentialSettings {
  return JSON.parse(settings) as CredentialSettings;
}

type Shown = Omit<Credential, 'name' | 'kind' | 'version' | 'fingerprint' | 'createdAt' | 'updatedAt'>;

/** All but the value, which is not even opened for it. */
function show(row: CredentialRow): Credential {
  const settings = settingsOf(row);
  const given: { [Field in keyof Shown]?: Shown[Field] | undefined } = settings;
  const { hosts, header, template, username, url, agents, methods, paths } = given;
  return {
    name: row.name,
    kind: settings.kind,
    version: row.version,
    fingerprint: row.fingerprint,
    hosts: hosts ?? null,
    header: header ?? null,
    template: template ?? null,
    username: username ?? null,
    url: url ?? null,
    agents: agents ?? null,
    methods: methods ?? null,
    paths: paths ?? null,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
