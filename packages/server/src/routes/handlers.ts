/**
 * What each public operation does, by its name in the table. Handlers know no HTTP: the same ones serve JSON-RPC. A
 * stream is frames of bytes; how they are written and paced is the wire's.
 */
import type { OperationResult } from '@atoll/protocol/operations';
import type { SnapshotBlobs } from '@atoll/protocol/runner-link';
import type { Agents } from '../agents/agents.ts';
import type { Credentials } from '../credentials/credentials.ts';
import type { Fleet } from '../fleet.ts';
import type { Keys } from '../keys/keys.ts';
import type { RunnerRegistry } from '../runners/registry.ts';
import type { Sandboxes } from '../sandboxes/sandboxes.ts';
import type { Sessions } from '../sessions/sessions.ts';
import { sessionFrames, turnFrames } from '../sessions/streams.ts';
import type { Usage } from '../usage/usage.ts';
import { eventsPage, startOf } from './events.ts';
import { execFrames, execResult } from './exec.ts';
import { listFiles, readFile, removeFile, writeFile } from './files.ts';
import type { Handlers } from './handler.ts';
import { createInternalHandlers } from './internal.ts';

export function createHandlers(options: {
  agents: Agents;
  credentials: Credentials;
  keys: Keys;
  sessions: Sessions;
  sandboxes: Sandboxes;
  usage: Pick<Usage, 'show'>;
  runners: RunnerRegistry;
  fleet: () => Promise<Fleet>;
  snapshots: SnapshotBlobs;
  health: () => Promise<OperationResult<'health.show'>>;
  metrics: () => Promise<string>;
}): Handlers {
  const { agents, credentials, keys, sessions, sandboxes } = options;
  return {
    'health.show': () => options.health(),
    'metrics.show': () => options.metrics(),

    'agent.deploy': async (params, { access }) => ({ agent: await agents.deploy(access, params) }),
    'agent.list': (params, { access }) => agents.list(access, params),
    'agent.show': async ({ name }, { access }) => ({ agent: await agents.show(access, name) }),
    'agent.delete': async ({ name }, { access }) => ({ agent: await agents.delete(access, name) }),

    'session.create': async (params, { access, traceparent }) => ({
      session: await sessions.create(access, params, traceparent),
    }),
    'session.list': (params, { access }) => sessions.list(access, params),
    'session.show': async ({ sessionId }, { access }) => ({
      session: await sessions.show(access, sessionId),
    }),
    'session.fork': async (params, { access }) => ({ session: await sessions.fork(access, params) }),
    'session.diff': (params, { access, signal }) => sessions.diff(access, params, signal),
    'session.snapshots.list': (params, { access }) => sessions.snapshots(access, params),
    'session.state': (params, { access }) => sessions.stateAt(access, params),
    'state.show': (params, { access }) => sessions.systemAt(access, params),
    'session.send': {
      async json(params, { access, traceparent }) {
        const { turn } = await sessions.send(access, params, traceparent);
        return { turn: await sessions.showTurn(params.sessionId, turn.id) };
      },
      async stream(params, { access, signal, traceparent }) {
        const { session, turn } = await sessions.send(access, params, traceparent);
        return turnFrames(session, turn, signal);
      },
    },
    'session.events': {
      async json(params, { access }) {
        return eventsPage(await sessions.get(access, params.sessionId), params);
      },
      async stream(params, { access, signal }) {
        const session = await sessions.get(access, params.sessionId);
        return sessionFrames(session, startOf(session, params), signal);
      },
    },
    'session.interrupt': async (params, { access }) => ({
      session: await sessions.interrupt(access, params),
    }),
    'session.pause': async ({ sessionId }, { access }) => ({
      session: await sessions.pause(access, sessionId),
    }),
    'session.resume': async ({ sessionId }, { access }) => ({
      session: await sessions.resume(access, sessionId),
    }),
    'session.end': async (params, { access }) => ({ session: await sessions.end(access, params) }),
    'session.exec': {
      async json(params, context) {
        return execResult(await sessions.exec(context.access, params, context));
      },
      async stream(params, context) {
        const where = { sessionId: params.sessionId, turnId: null };
        return execFrames(await sessions.exec(context.access, params, context), where);
      },
    },

    'approval.list': (params, { access }) => sessions.approvals(access, params),
    'approval.decide': async (params, { access }) => ({ approval: await sessions.decide(access, params) }),
    'session.bind': async (params, { access }) => ({ session: await sessions.bind(access, params) }),
    'session.report': (params, { access }) => sessions.report(access, params),
    'session.metadata.update': (params, { access }) => sessions.updateMetadata(access, params),

    'session.files.list': async ({ sessionId, ...page }, { access }) =>
      listFiles(await sessions.filesToRead(access, sessionId), sessionId, page),
    'session.files.read': async ({ sessionId, ...piece }, { access }) =>
      readFile(await sessions.filesToRead(access, sessionId), sessionId, piece),
    'session.files.write': async ({ sessionId, path }, { access }, content) =>
      writeFile(await sessions.filesToWrite(access, sessionId), { workspaceId: sessionId, path, content }),
    'session.files.delete': async ({ sessionId, path }, { access }) =>
      removeFile(await sessions.filesToWrite(access, sessionId), { workspaceId: sessionId, path }),

    'sandbox.create': (params, { access }) => sandboxes.create(access, params),
    'sandbox.list': (params, { access }) => sandboxes.list(access, params),
    'sandbox.show': async ({ sandboxId }, { access }) => ({
      sandbox: await sandboxes.show(access, sandboxId),
    }),
    'sandbox.delete': (params, { access }) => sandboxes.delete(access, params),
    'sandbox.snapshot': (params, { access }) => sandboxes.snapshot(access, params),
    'sandbox.snapshots.list': (params, { access }) => sandboxes.snapshots(access, params),
    'sandbox.snapshots.delete': async (params, { access }) => ({
      snapshot: await sandboxes.deleteSnapshot(access, params),
    }),
    'sandbox.exec': {
      async json(params, context) {
        return execResult(await sandboxes.exec(context.access, params, context));
      },
      async stream(params, context) {
        const { sandboxId } = params;
        return execFrames(await sandboxes.exec(context.access, params, context), { sandboxId });
      },
    },
    'sandbox.files.list': async ({ sandboxId, ...page }, { access }) =>
      listFiles(await sandboxes.filesOf(access, sandboxId), sandboxId, page),
    'sandbox.files.read': async ({ sandboxId, ...piece }, { access }) =>
      readFile(await sandboxes.filesOf(access, sandboxId), sandboxId, piece),
    'sandbox.files.write': async ({ sandboxId, path }, { access }, content) =>
      writeFile(await sandboxes.filesOf(access, sandboxId), { workspaceId: sandboxId, path, content }),
    'sandbox.files.delete': async ({ sandboxId, path }, { access }) =>
      removeFile(await sandboxes.filesOf(access, sandboxId), { workspaceId: sandboxId, path }),
    'job.list': (params, { access }) => sandboxes.jobs(access, params),
    'job.show': async ({ jobId }, { access }) => ({ job: await sandboxes.job(access, jobId) }),

    'usage.show': (params, { access }) => options.usage.show(access, params),
    'runner.list': (params, { access }) => options.runners.list(access, params),
    'runner.show': async ({ runnerId }, { access }) => ({
      runner: await options.runners.show(access, runnerId),
    }),
    'runner.drain': async ({ runnerId }, { access }) => {
      await options.runners.drain(runnerId);
      return { runner: await options.runners.show(access, runnerId) };
    },
    ...createInternalHandlers(options),

    'credential.set': async (params, { access }) => ({ credential: await credentials.set(access, params) }),
    'credential.list': (params, { access }) => credentials.list(access, params),
    'credential.delete': async ({ name }, { access }) => ({
      credential: await credentials.delete(access, name),
    }),

    'key.create': (params) => keys.create(params),
    'key.list': (params) => keys.list(params),
    'key.delete': async ({ keyId }) => ({ key: await keys.delete(keyId) }),
  };
}
