/** What was used, by day, agent or session. */
import { AtollError } from '@atoll/protocol/errors';
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import { agentName, day, id } from '@atoll/protocol/schemas/common';
import { tenant } from '@atoll/protocol/schemas/platform';
import type { UsageItem, UsageKey, UsageSums } from '@atoll/protocol/schemas/usage';
import * as v from 'valibot';
import type { Access } from '../keys/access.ts';
import { cursorAt, paged } from '../store/cursor.ts';
import type { Store } from '../store/store.ts';
import { countEndedSandboxes, uncountedSpans } from './counting.ts';

export type Usage = {
  show(access: Access, params: OperationParams<'usage.show'>): Promise<OperationResult<'usage.show'>>;
  /** Adds the time of sandboxes that ended to the sums, a bounded number of them; until then it is worked out each time. */
  countEnded(): Promise<void>;
};

type Filter = { conditions: string[]; parameters: string[] };
type Row = UsageSums & { tenant: string; day: string; agent: string; session_id: string };

/** Of what ended a page: no name in it holds a slash. */
type Place = v.GenericSchema<readonly string[]>;

const MAX_COUNTED = 200;

/** A sandbox may have been of no agent, and what was erased is of no session. */
const orNone = (name: v.GenericSchema<string>) => v.union([name, v.literal('')]);

/** The columns that make one item, and how they are ordered: newest first, but agents by name. */
const keys: Record<UsageKey, { columns: readonly string[]; place: Place; order: 'ASC' | 'DESC' }> = {
  day: { columns: ['day'], place: v.strictTuple([day]), order: 'DESC' },
  agent: { columns: ['agent', 'tenant'], place: v.strictTuple([orNone(agentName), tenant]), order: 'ASC' },
  session: {
    columns: ['session_id', 'agent', 'tenant'],
    place: v.strictTuple([orNone(id('session')), orNone(agentName), tenant]),
    order: 'DESC',
  },
};

/** `total` where sums could be too large for an integer. */
const SUMS = `total(turns) AS turns, total(model_requests) AS modelRequests, total(input_tokens) AS inputTokens,
  total(output_tokens) AS outputTokens, total(cache_read_tokens) AS cacheReadTokens,
  total(cache_write_tokens) AS cacheWriteTokens, total(cost_usd) AS costUsd,
  round(total(sandbox_seconds), 3) AS sandboxSeconds, total(log_bytes) AS logBytes,
  total(snapshot_bytes) AS snapshotBytes`;

/** One statement, so that nothing is missed or seen twice while time of sandboxes moves into the sums. */
const ALL = `${uncountedSpans('true')},
  used AS (
    SELECT tenant, day, agent, session_id, turns, model_requests, input_tokens, output_tokens, cache_read_tokens,
      cache_write_tokens, cost_usd, sandbox_seconds, log_bytes, snapshot_bytes FROM usage_days
    UNION ALL
    SELECT tenant, day, agent, session_id, 0, 0, 0, 0, 0, 0, 0, sandbox_seconds, 0, 0 FROM sandbox_days
  )`;

/** By the index of those that are not counted, which are few, and not by that of all that ended. */
const ENDED_UNCOUNTED = `SELECT id FROM sandboxes INDEXED BY sandboxes_uncounted
  WHERE counted = 0 AND ended_at IS NOT NULL LIMIT ${MAX_COUNTED}`;

export function createUsage({ store }: { store: Store }): Usage {
  async function show(
    access: Access,
    params: OperationParams<'usage.show'>,
  ): Promise<OperationResult<'usage.show'>> {
    const { by, limit, cursor } = params;
    const { columns, place, order } = keys[by];
    const filter = filterOf(access, params);
    const after = cursor === undefined ? undefined : cursorAt(place, cursor.split('/'));
    const list = columns.join(', ');
    const beyond = `(${list}) ${order === 'ASC' ? '>' : '<'} (${columns.map(() => '?').join(', ')})`;
    const where = whereOf([...filter.conditions, ...(after === undefined ? [] : [beyond])]);
    const ordered = columns.map((column) => `${column} ${order}`).join(', ');
    const sql = `${ALL} SELECT ${list}, ${SUMS} FROM used ${where}
      GROUP BY ${list} ORDER BY ${ordered} LIMIT ${limit + 1}`;
    const [rows, totals] = await Promise.all([
      store.all<Row>({ sql, parameters: [...filter.parameters, ...(after ?? [])] }),
      totalsOf(filter),
    ]);
    const { page, nextCursor } = paged(rows, limit, (row) =>
      columns.map((name) => row[name as keyof Row]).join('/'),
    );
    return { by, usage: page.map((row) => itemOf(by, row)), totals, nextCursor };
  }

  async function totalsOf({ conditions, parameters }: Filter): Promise<UsageSums> {
    const [row] = await store.all<UsageSums>({
      sql: `${ALL} SELECT ${SUMS} FROM used ${whereOf(conditions)}`,
      parameters,
    });
    if (row === undefined) throw new AtollError('internal', 'a sum of nothing is a row, too');
    return { ...row };
  }

  return {
    show,
    async countEnded() {
      const ended = await store.all<{ id: string }>({ sql: ENDED_UNCOUNTED, parameters: [] });
      if (ended.length > 0) await store.commit(countEndedSandboxes(ended.map(({ id }) => id)));
    },
  };
}

function filterOf(access: Access, { from, to, agent, session }: OperationParams<'usage.show'>): Filter {
  const tenant = access.crossesTenants ? undefined : access.tenant;
  const given: [condition: string, value: string | undefined][] = [
    ['tenant = ?', tenant],
    ['day >= ?', from],
    ['day <= ?', to],
    ['agent = ?', agent],
    ['session_id = ?', session],
  ];
  const named = given.flatMap(([condition, value]) => (value === undefined ? [] : [{ condition, value }]));
  return {
    conditions: named.map(({ condition }) => condition),
    parameters: named.map(({ value }) => value),
  };
}

function whereOf(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
}

function itemOf(by: UsageKey, { day, tenant, agent, session_id: sessionId, ...sums }: Row): UsageItem {
  if (by === 'day') return { day, ...sums };
  const whose = { tenant, agent: agent || null };
  return by === 'agent' ? { ...whose, ...sums } : { sessionId: sessionId || null, ...whose, ...sums };
}
