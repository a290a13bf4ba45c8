/** The definition of the gRPC service is written by hand; here its fields are held equal to what the other wires say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runnerProto } from '@atoll/protocol/grpc-messages';
import { internalOperations } from '@atoll/protocol/internal-operations';
import { workspaceFile } from '@atoll/protocol/schemas/platform';
import { endedSandbox } from '@atoll/protocol/schemas/runner';
import {
  commandEvents,
  newCommand,
  sandboxRequest,
  sandboxShown,
  takenSnapshot,
} from '@atoll/protocol/schemas/runner-link';
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader';

const definition = loadSync(fileURLToPath(runnerProto));

function fieldsOf(message: string): string[] {
  const { type } = definition[`atoll.runner.v1.${message}`] as MessageTypeDefinition<object, object>;
  const { field } = type as { field: { jsonName?: string; name: string }[] };
  return field.map(({ name }) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()));
}

/** `[message, what the other wires have, what is said here in another way, what only a stream needs]`. */
const pairs: [string, object, Record<string, string[]>, string[]][] = [
  ['Register', internalOperations['runner.register'].params.entries, {}, ['registrationId']],
  ['Heartbeat', internalOperations['runner.heartbeat'].params.entries, { runnerId: [] }, []],
  ['EndedSandbox', endedSandbox.entries, {}, []],
  ['SandboxState', sandboxShown.entries, {}, []],
  [
    'Sandbox',
    sandboxRequest.entries,
    {
      id: [],
      snapshot: ['snapshotId', 'snapshotEpoch'],
      limits: ['memoryMb', 'cpu', 'processes', 'diskMb', 'openFiles', 'wallTimeMs'],
      budget: ['budgetRequests', 'budgetTokens'],
    },
    ['name'],
  ],
  ['Command', newCommand, { command: ['method', 'params'] }, ['sandboxId', 'after']],
  ['CommandEnd', commandEvents.end.entries, {}, ['sandboxId', 'epoch', 'commandId', 'line']],
  ['TakenSnapshot', takenSnapshot.entries, { skipped: ['skipped', 'firstSkipped'] }, []],
  ['WorkspaceFile', workspaceFile.entries, {}, []],
];

for (const [message, entries, otherwise, own] of pairs)
  test(`${message} has the fields of its table`, () => {
    const expected = Object.keys(entries).flatMap((name) => otherwise[name] ?? [name]);
    assert.deepEqual(fieldsOf(message).sort(), [...expected, ...own].sort());
  });
