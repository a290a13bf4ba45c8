/** API keys: made, listed, revoked, recognised. Only their hashes are stored. */
import { hash } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';
import { newId } from '@atoll/protocol/ids';
import type { OperationParams } from '@atoll/protocol/operations';
import { id } from '@atoll/protocol/schemas/common';
import type { Key } from '@atoll/protocol/schemas/platform';
import { cursorAt, paged } from '../store/cursor.ts';
import type { Store } from '../store/store.ts';
import type { KeyRow } from '../store/tables.ts';
import { type Access, access } from './access.ts';
import { newSecret } from './secret.ts';

/** Recognised keys are remembered; revoking one forgets it. */
const MAX_REMEMBERED = 10_000;

export type Keys = {
  create(params: OperationParams<'key.create'>): Promise<{ key: Key; secret: string }>;
  list(params: OperationParams<'key.list'>): Promise<{ keys: Key[]; nextCursor: string | null }>;
  delete(id: string): Promise<Key>;
  /** Rejects with `unauthorized`. */
  recognise(secret: string): Promise<Access>;
  /** Makes sure that this secret is an admin key (the one in the data directory). */
  ensureAdmin(secret: string): Promise<void>;
};

export function createKeys({ store, now }: { store: Store; now: () => number }): Keys {
  const { sql } = store;
  const remembered = new Map<string, KeyRow>();

  async function insert(row: Omit<KeyRow, 'id' | 'created_at'>): Promise<KeyRow> {
    const full = { ...row, id: newId('key'), created_at: new Date(now()).toISOString() };
    await store.commit([{ query: sql.insertInto('keys').values(full) }]);
    return full;
  }

  function find(hash: string): Promise<KeyRow | undefined> {
    return store.first(sql.selectFrom('keys').selectAll().where('hash', '=', hash));
  }

  async function recognise(secret: string): Promise<Access> {
    const hash = hashOf(secret);
    const row = remembered.get(hash) ?? (await find(hash));
    if (!row) throw new AtollError('unauthorized', 'this API key is not known here');
    if (row.expires_at !== null && Date.parse(row.expires_at) <= now()) {
      remembered.delete(hash);
      throw new AtollError('unauthorized', 'this API key has expired');
    }
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(hash, row);
    return access(row.tenant, row.role);
  }

  return {
    async create({ role, tenant = 'default', name, expiresAt }) {
      if (expiresAt !== undefined && Date.parse(expiresAt) <= now())
        throw new AtollError('invalid_request', '"expiresAt" is in the past');
      const secret = newSecret();
      const row = await insert({
        role,
        tenant,
        name: name ?? null,
        hash: hashOf(secret),
        expires_at: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
      });
      return { key: show(row), secret };
    },
    async list({ limit, cursor }) {
      let query = sql
        .selectFrom('keys')
        .selectAll()
        .orderBy('id', 'desc')
        .limit(limit + 1);
      if (cursor !== undefined) query = query.where('id', '<', cursorAt(id('key'), cursor));
      const { page, nextCursor } = paged(await store.all(query), limit, ({ id }) => id);
      return { keys: page.map(show), nextCursor };
    },
    async delete(id) {
      const row = await store.first(sql.selectFrom('keys').selectAll().where('id', '=', id));
      if (!row) throw new AtollError('not_found', `no key ${id}`);
      await store.commit([{ query: sql.deleteFrom('keys').where('id', '=', id) }]);
      remembered.delete(row.hash);
      return show(row);
    },
    recognise,
    async ensureAdmin(secret) {
      const hash = hashOf(secret);
      if (!(await find(hash)))
        await insert({ role: 'admin', tenant: 'default', name: 'first start', hash, expires_at: null });
    },
  };
}

function hashOf(secret: string): string {
  return hash('sha256', secret);
}

function show({ id, tenant, role, name, created_at, expires_at }: KeyRow): Key {
  return { id, tenant, role, name, createdAt: created_at, expiresAt: expires_at };
}
