/**
 * What runners elsewhere ask of their coordinator: their lease, and for the sandboxes that they hold what the embedded
 * runner is handed in the same process. All of it is for the role `runner`.
 */
import * as v from 'valibot';
import { operation } from './operation.ts';
import { count, id, text, time } from './schemas/common.ts';
import * as internal from './schemas/internal.ts';
import { tenant } from './schemas/platform.ts';
import * as runners from './schemas/runner.ts';

const MiB = 1024 * 1024;
const sessionId = id('session');
const registration = { runnerId: runners.runnerId, registrationId: runners.registrationId };
const blob = { tenant, hash: internal.hash };

export const internalOperations = {
  'runner.register': operation({
    kind: 'unary',
    summary: 'For runners: be known, until the lease ends',
    role: 'runner',
    rest: { method: 'POST', path: '/api/internal/runners/register' },
    params: v.strictObject(runners.newRegistration),
    result: v.object({ registrationId: runners.registrationId, lease: runners.lease }),
  }),
  'runner.heartbeat': operation({
    kind: 'unary',
    summary: 'For runners: renew the lease, and tell which sandboxes ended without being asked to',
    role: 'runner',
    rest: { method: 'POST', path: '/api/internal/runners/heartbeat' },
    params: v.strictObject({
      ...registration,
      ended: v.optional(v.pipe(v.array(runners.endedSandbox), v.maxLength(1000)), []),
    }),
    result: v.object({ lease: runners.lease }),
  }),
  'runner.deregister': operation({
    kind: 'unary',
    summary: 'For runners: take no more sandboxes, and be gone when the last one is',
    role: 'runner',
    rest: { method: 'POST', path: '/api/internal/runners/deregister' },
    params: v.strictObject(registration),
    result: v.object({ sandboxes: count }),
  }),
  'session.token.create': operation({
    kind: 'unary',
    summary: 'For runners: a token that may do for one session what its gateway must',
    role: 'runner',
    rest: { method: 'POST', path: '/api/internal/sessions/:sessionId/token' },
    params: v.strictObject({ sessionId, epoch: count }),
    result: v.object({ token: v.string(), expiresAt: time }),
  }),
  'session.credentials.get': operation({
    kind: 'unary',
    summary: 'For runners: what the gateway of an assignment may add to its traffic, with the values',
    role: 'runner',
    rest: { method: 'POST', path: '/api/internal/sessions/:sessionId/credentials' },
    params: v.strictObject({ sessionId, epoch: count }),
    result: v.object({ credentials: v.pipe(v.array(internal.gatewayCredential), v.readonly()) }),
  }),
  'session.access.record': operation({
    kind: 'unary',
    summary: 'For runners: what the gateway of an assignment let pass and refused',
    role: 'runner',
    rest: { method: 'POST', path: '/api/internal/sessions/:sessionId/access' },
    params: v.strictObject({ sessionId, ...internal.accessReport }),
    result: v.object({}),
  }),
  'session.model-use.add': operation({
    kind: 'unary',
    summary: 'For runners: add to what a session has spent on models, and get all of it',
    role: 'runner',
    rest: { method: 'POST', path: '/api/internal/sessions/:sessionId/model-use' },
    params: v.strictObject({
      sessionId,
      epoch: count,
      ...internal.modelUse,
      exhausted: v.exactOptional(text),
    }),
    result: v.object(internal.modelUse),
  }),
  'agent.manifest.get': operation({
    kind: 'unary',
    summary: 'For runners: the files of an agent version, by its hash',
    role: 'runner',
    rest: { method: 'GET', path: '/api/internal/tenants/:tenant/manifests/:hash' },
    params: v.strictObject(blob),
    result: internal.agentManifest,
  }),
  'agent.file.get': operation({
    kind: 'bytes',
    summary: 'For runners: one file of an agent version, by its hash',
    role: 'runner',
    rest: { method: 'GET', path: '/api/internal/tenants/:tenant/agent-files/:hash', bytes: 'out' },
    params: v.strictObject(blob),
    result: v.unknown(),
  }),
  'snapshot.blob.get': operation({
    kind: 'bytes',
    summary: 'For runners: a piece of a snapshot, by its hash',
    role: 'runner',
    rest: { method: 'GET', path: '/api/internal/tenants/:tenant/snapshot-blobs/:hash', bytes: 'out' },
    params: v.strictObject(blob),
    result: v.unknown(),
  }),
  'snapshot.blob.put': operation({
    kind: 'bytes',
    summary: 'For runners: keep a piece of a snapshot; on disk when it is answered',
    role: 'runner',
    rest: {
      method: 'PUT',
      path: '/api/internal/tenants/:tenant/snapshot-blobs/:hash',
      bytes: 'in',
      maxBodyBytes: 64 * MiB,
    },
    params: v.strictObject(blob),
    result: v.object({ hash: internal.hash }),
  }),
} as const;
