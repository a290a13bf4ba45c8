/** All sandboxes, those of sessions too, and the jobs of all, page by page; a tenant's own alone (I12). */
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import { id } from '@atoll/protocol/schemas/common';
import type { Access } from '../keys/access.ts';
import { cursorAt, paged } from '../store/cursor.ts';
import type { Store } from '../store/store.ts';
import { showJob, showSandbox } from './rows.ts';

export function createListing({ sql, all }: Store) {
  async function sandboxes(
    access: Access,
    { status, name, limit, cursor }: OperationParams<'sandbox.list'>,
  ): Promise<OperationResult<'sandbox.list'>> {
    let query = sql
      .selectFrom('sandboxes')
      .selectAll()
      .orderBy('id', 'desc')
      .limit(limit + 1);
    if (!access.crossesTenants) query = query.where('tenant', '=', access.tenant);
    if (status !== undefined) query = query.where('status', '=', status);
    if (name !== undefined) query = query.where('name', '=', name);
    if (cursor !== undefined) query = query.where('id', '<', cursorAt(id('sandbox'), cursor));
    const { page, nextCursor } = paged(await all(query), limit, ({ id }) => id);
    return { sandboxes: page.map(showSandbox), nextCursor };
  }

  async function jobs(
    access: Access,
    { status, type, sandboxId, sessionId, limit, cursor }: OperationParams<'job.list'>,
  ): Promise<OperationResult<'job.list'>> {
    let query = sql
      .selectFrom('jobs')
      .selectAll()
      .orderBy('id', 'desc')
      .limit(limit + 1);
    if (!access.crossesTenants) query = query.where('tenant', '=', access.tenant);
    if (status !== undefined) query = query.where('status', '=', status);
    if (type !== undefined) query = query.where('type', '=', type);
    if (sandboxId !== undefined) query = query.where('sandbox_id', '=', sandboxId);
    if (sessionId !== undefined) query = query.where('session_id', '=', sessionId);
    if (cursor !== undefined) query = query.where('id', '<', cursorAt(id('job'), cursor));
    const { page, nextCursor } = paged(await all(query), limit, ({ id }) => id);
    return { jobs: page.map(showJob), nextCursor };
  }

  return { sandboxes, jobs };
}
