import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { eventSchemas } from './events.ts';
import { jsonSchema } from './openapi.ts';
import type { Operations } from './operation.ts';
import { operations } from './operations.ts';
import { runnerOperations } from './runner-operations.ts';
import { agentConfig } from './schemas/agent.ts';
import { commandEvents } from './schemas/runner-link.ts';
import { PROTOCOL_VERSION, protocolVersions } from './wire.ts';
import { workerMethods } from './worker-methods.ts';

test('the wire schemas are those of the latest protocol version', () => {
  const table: Record<string, unknown> = {};
  const add = (prefix: string, operations: Operations) => {
    for (const [name, { params, result, rest, kind, role, bySession }] of Object.entries(operations))
      table[`${prefix}${name}`] = {
        params: jsonSchema(params),
        result: jsonSchema(result),
        rest,
        kind,
        role,
        bySession,
      };
  };
  add('', operations);
  add('runner:', runnerOperations);
  const events = Object.entries(eventSchemas).map(([name, schema]) => [name, jsonSchema(schema)]);
  const worker = Object.entries(workerMethods).map(([name, { params, result }]) => [
    name,
    jsonSchema(params),
    jsonSchema(result),
  ]);
  for (const [name, schema] of Object.entries(commandEvents))
    events.push([`command:${name}`, jsonSchema(schema)]);
  const all = JSON.stringify({ table, worker, events, agentConfig: jsonSchema(agentConfig) });
  const latest = protocolVersions.at(-1);
  assert.equal(latest?.version, PROTOCOL_VERSION);
  assert.equal(
    createHash('sha256').update(all).digest('hex').slice(0, 16),
    latest?.hash,
    'the wire changed: add a version to protocolVersions that says why (before the first release: set the hash)',
  );
});
