/**
 * A runner: makes sandboxes with a driver, runs commands in them, keeps their files. It answers the calls of a
 * RunnerLink and knows neither sessions nor logs. In one process with the coordinator, its link is handed over as it is.
 */

import { chmod, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AtollError } from '@atoll/protocol/errors';
import type {
  Coordinator,
  CreateSandbox,
  DeleteSandbox,
  ResourceLimits,
  RunnerLink,
  SandboxEnded,
} from '@atoll/protocol/runner-link';
import { fillWorkspace } from './agent-folder.ts';
import type { Driver, Mount, SandboxEndCause, SandboxLimits, SandboxOwner } from './driver.ts';
import { type AppliedProfile, applyProfile, type ExecutorProfile } from './executor-profiles.ts';
import { createNetwork, type Network } from './gateway/egress/network.ts';
import type { Upstreams } from './gateway/models.ts';
import type { Logger } from './logger.ts';
import { withGatewayUrl } from './mcp-servers.ts';
import { createParked } from './parked.ts';
import { createPool } from './pool.ts';
import { createSandbox, type Sandbox } from './sandbox.ts';
import { type GatewayPlace, openGateway, type SandboxGateway } from './sandbox-gateway.ts';
import { createWorkspaceSnapshots } from './snapshots/workspace-snapshots.ts';
import { createWorkspaces } from './workspaces.ts';

export type RunnerOptions = {
  /** Kept 0700; holds workspaces and sockets. */
  dataDir: string;
  runnerId: string;
  driver: Driver;
  capacity: number;
  /** How to start a bridge; asked for at the first sandbox, and answered the same every time. */
  bridge: () => Promise<BridgeInstall>;
  coordinator: Coordinator;
  /** The machine's name, constant for the runner's life. */
  hostname: string;
  upstreams: Upstreams;
  /** Those that can run here; no other is offered. */
  profiles: readonly ExecutorProfile[];
  /** How sandboxes reach hosts outside; of this machine by default. */
  network?: Network;
  /** Whether this runner's lease still runs; without one, always. Nothing passes its gateways otherwise (I6). */
  mayAct?: () => boolean;
  /** What a sandbox may use where its agent does not say. */
  limits?: Partial<ResourceLimits>;
  log: Logger;
};

export type BridgeInstall = {
  /** Inside a sandbox with the mounts below. */
  command: readonly string[];
  /** On the host, for drivers without an inside. */
  hostCommand: readonly string[];
  mounts: readonly Mount[];
  env: Readonly<Record<string, string>>;
};

export type Runner = {
  readonly link: RunnerLink;
  /** All sandboxes stand still, and those that come up meanwhile; or they go on. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  stop(): Promise<void>;
};

type Starting = {
  epoch: number;
  directory: string;
  gateway: SandboxGateway;
  applied: AppliedProfile | undefined;
};

const INITIALIZE_MS = 60_000;
const MiB = 1024 * 1024;

const DEFAULT_LIMITS: ResourceLimits = {
  memoryMb: 2048,
  cpu: 0,
  processes: 512,
  diskMb: 4096,
  openFiles: 65_536,
  wallTimeMs: 0,
};

/** What a runner does with the file system and with sockets, besides what its driver does. */
const onThisMachine = {
  prepareDirectories,
  createWorkspaces,
  createWorkspaceSnapshots,
  fillWorkspace,
  openGateway,
};

export type Machine = typeof onThisMachine;

export async function createRunner(
  options: RunnerOptions,
  machine: Machine = onThisMachine,
): Promise<Runner> {
  const { dataDir, driver, log: logger, network = createNetwork() } = options;
  const pool = createPool(options.capacity);
  const directories = {
    workspaces: join(dataDir, 'workspaces'),
    records: join(dataDir, 'records'),
    sockets: join(dataDir, 'run'),
  };
  await machine.prepareDirectories(dataDir, directories);
  await driver.sweep();
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const mayHold = (workspaceId: string) => diskBytes.get(workspaceId) ?? limits.diskMb * MiB;
  const workspaces = machine.createWorkspaces({ root: directories.workspaces, driver, diskBytes: mayHold });
  const snapshots = machine.createWorkspaceSnapshots({
    directory: directories.records,
    workspaces,
    blobs: options.coordinator.snapshots,
    diskBytes: mayHold,
  });
  const jobs = new Map<string, Promise<void>>();
  /** Workspaces that a job is filling: its sandbox is not in the pool yet. */
  const making = new Map<string, { epoch: number; over: Promise<unknown> }>();
  /** Of the workspaces that had a sandbox here, how much they may hold. */
  const diskBytes = new Map<string, number>();
  const ending = new Set<string>();
  /** Asked to end before their driver had started them: up to which epoch. */
  const unwanted = new Map<string, number>();
  /** Of each sandbox that has one: settles when it and its gateway are gone. */
  const ends = new Map<string, Promise<void>>();
  const parked = createParked(options.profiles);
  const listeners: ((ended: SandboxEnded) => void)[] = [];
  const enclosed = driver.name !== 'process';
  let stopping = false;
  let frozen = false;

  /** Idempotent by job: the same jobId is the same promise. */
  function createSandboxOnce(request: CreateSandbox): Promise<void> {
    const known = jobs.get(request.jobId);
    if (known) return known;
    const { workspaceId } = request.sandbox;
    const earlier = making.get(workspaceId);
    const job = makeSandbox(request);
    jobs.set(request.jobId, job);
    const over = Promise.allSettled([earlier?.over, job]).then(() => {
      if (making.get(workspaceId) === made) making.delete(workspaceId);
    });
    const made = { epoch: request.epoch, over };
    making.set(workspaceId, made);
    // Kept while it could be asked for again; a sandbox's end makes the answer worthless.
    job.catch(() => jobs.delete(request.jobId));
    return job;
  }

  async function makeSandbox({ jobId, epoch, traceparent, sandbox: asked }: CreateSandbox): Promise<void> {
    const { id, tenant, workspaceId, snapshot } = asked;
    refuseWhenStopping();
    const applied = asked.executor && applyProfile(options.profiles, asked.executor);
    const release = await pool.take();
    let gateway: SandboxGateway | undefined;
    let filled: Promise<void> | undefined;
    let fresh = asked.fresh;
    try {
      // With its files went what its executor remembers.
      fresh ||= snapshot === undefined && !workspaces.has(workspaceId);
      const request = { ...asked, fresh, env: { ...applied?.profile.env, ...asked.env } };
      const owner = await (fresh
        ? workspaces.create(workspaceId)
        : snapshots.ready({ workspaceId, tenant, snapshot }));
      const directory = workspaces.directory(workspaceId);
      // While the sandbox boots: before `initialize` nothing of the agent runs in it that could look.
      filled = fill(request, epoch, join(directory, 'workspace'), owner);
      filled.catch(() => undefined); // awaited below
      gateway = await machine.openGateway({
        ...options,
        network,
        sandbox: request,
        epoch,
        where: gatewayPlace(id, owner),
        directory: directories.sockets,
      });
      const sandbox = await startSandbox(request, { epoch, directory, gateway, applied });
      const over = sandbox.exited.then(async (exit) => {
        pool.remove(id);
        parked.forget(id);
        // Its answer is worth nothing any more; one that is not there yet, who asks again waits for.
        jobs.get(jobId)?.then(
          () => jobs.delete(jobId),
          () => undefined,
        );
        release();
        await gateway?.close();
        ends.delete(id);
        if (!ending.delete(id))
          for (const tell of listeners)
            tell({ sandboxId: id, epoch, cause: exit.cause, detail: exit.detail });
      });
      ends.set(id, over);
      const { executorSessionId, executorBranches: branches = false } = request;
      const resume =
        executorSessionId === undefined || fresh ? {} : { resume: { executorSessionId, branches } };
      ending.add(id);
      try {
        await filled;
        refuseWhenStopping();
      } catch (error) {
        await sandbox.end('ended');
        throw error;
      }
      const trace = traceparent === undefined ? {} : { traceparent };
      const workspace = enclosed ? '/workspace' : join(directory, 'workspace');
      await sandbox.initialize(applied && withGatewayUrl(applied.executor, gateway.url), {
        ...resume,
        ...trace,
        workspace,
        env: { ...request.env, ...gateway.env },
        ...(asked.parked && { parked: true }),
        timeoutMs: INITIALIZE_MS,
      });
      if (asked.parked) parked.add({ sandbox, gateway });
      ending.delete(id);
    } catch (error) {
      release();
      await gateway?.close();
      await filled?.catch(() => undefined); // it may be why; it may still be writing
      if (fresh) await workspaces.remove(workspaceId);
      if (error instanceof AtollError) throw error;
      logger.error({ sandboxId: id, err: error }, 'a sandbox could not be made');
      throw new AtollError('sandbox_failed', error instanceof Error ? error.message : undefined, {
        cause: error,
      });
    }
  }

  async function fill(
    { tenant, workspaceId, agentHash, fresh }: CreateSandbox['sandbox'],
    epoch: number,
    directory: string,
    owner: SandboxOwner,
  ): Promise<void> {
    const source = options.coordinator.agents;
    if (fresh && agentHash !== undefined)
      await machine.fillWorkspace({ source, tenant, hash: agentHash, directory, owner });
    await snapshots.assigned(workspaceId, epoch);
  }

  function gatewayPlace(id: string, owner: SandboxOwner): GatewayPlace {
    return enclosed ? { socketPath: join(directories.sockets, `${id}.sock`), owner } : 'loopback';
  }

  async function startSandbox(
    request: CreateSandbox['sandbox'],
    { epoch, directory, gateway, applied }: Starting,
  ): Promise<Sandbox> {
    const bridge = await options.bridge();
    const asked = toLimits({ ...limits, ...request.limits });
    diskBytes.set(request.workspaceId, asked.diskBytes);
    refuseWhenStopping();
    const process = await driver.start({
      id: request.id,
      directory,
      command: enclosed ? bridge.command : bridge.hostCommand,
      env: { ...gateway.bridgeEnv, ...(enclosed ? bridge.env : {}) },
      readOnly: [
        ...(enclosed ? [...bridge.mounts, ...(applied?.profile.mounts ?? []).map(mountOf)] : []),
        ...gateway.readOnly,
      ],
      sockets: gateway.sockets,
      handsListener: enclosed,
      limits: asked,
      ...(request.image === undefined ? {} : { image: request.image }),
    });
    const sandbox = createSandbox({
      id: request.id,
      workspaceId: request.workspaceId,
      epoch,
      process,
      onListener: gateway.listenOn,
      logger,
    });
    pool.add(sandbox);
    if (stopping) void sandbox.end('server_stopped');
    else if (epoch <= (unwanted.get(request.id) ?? -1)) void sandbox.end('ended');
    else if (frozen)
      sandbox.freeze('lease').catch((err) => {
        logger.error({ sandboxId: request.id, err }, 'a sandbox could not be frozen');
      });
    return sandbox;
  }

  function refuseWhenStopping(): void {
    if (stopping) throw new AtollError('shutting_down');
  }

  /** The live sandbox of that assignment; an older epoch is refused (I6). */
  function sandboxAt(sandboxId: string, epoch: number): Sandbox {
    const sandbox = pool.get(sandboxId);
    if (!sandbox) throw new AtollError('sandbox_failed', `sandbox ${sandboxId} is not running`);
    if (epoch < sandbox.epoch)
      throw new AtollError('stale_epoch', `sandbox ${sandboxId} is at epoch ${sandbox.epoch}`);
    return sandbox;
  }

  async function deleteSandbox({ sandboxId, workspaceId, epoch, cause, keep }: DeleteSandbox): Promise<void> {
    // One that is still being made is ended as soon as it is there, and its files are not removed under it. What is made
    // for a later assignment is another one.
    const made = making.get(workspaceId);
    if (!pool.get(sandboxId) && made && made.epoch <= epoch) {
      unwanted.set(sandboxId, epoch);
      await made.over;
      unwanted.delete(sandboxId);
    }
    const sandbox = pool.get(sandboxId);
    if (sandbox) {
      sandboxAt(sandboxId, epoch);
      ending.add(sandboxId);
      pool.leaving(sandbox);
      await sandbox.end(endCause(cause));
    }
    // What its gateway has still to say belongs to this assignment.
    await ends.get(sandboxId);
    if (!keep) await removeWorkspace(workspaceId);
  }

  async function removeWorkspace(id: string): Promise<void> {
    await making.get(id)?.over;
    if (pool.inWorkspace(id)) return;
    await snapshots.settled(id, { stop: true });
    diskBytes.delete(id);
    await Promise.all([workspaces.remove(id), snapshots.forget(id)]);
  }

  const link: RunnerLink = {
    runnerId: options.runnerId,
    createSandbox: createSandboxOnce,
    claimSandbox: (request) => parked.claim(sandboxAt(request.sandboxId, request.epoch), request),
    deleteSandbox,
    async sweep({ keep }) {
      const kept = new Set(keep);
      for (const id of await workspaces.ids()) if (!kept.has(id)) await removeWorkspace(id);
      await snapshots.sweep();
    },
    command: (request) => sandboxAt(request.sandboxId, request.epoch).command(request),
    said({ sandboxId, epoch }) {
      const sandbox = pool.get(sandboxId);
      // Of one that is gone, the command tells.
      return sandbox?.epoch === epoch ? sandbox.takeHeld() : [];
    },
    acknowledge: () => undefined, // nothing is held: what was not taken waits in the sandbox
    async cancel({ sandboxId, epoch, commandId }) {
      if (pool.get(sandboxId)) sandboxAt(sandboxId, epoch).cancel(commandId);
    },
    async decide({ sandboxId, epoch, requestId, decision }) {
      if (pool.get(sandboxId)) sandboxAt(sandboxId, epoch).decide(requestId, decision);
    },
    onSandboxEnded: (listener) => void listeners.push(listener),
    files: workspaces.files,
    async snapshot(request) {
      const sandbox = pool.inWorkspace(request.workspaceId);
      if (sandbox) sandboxAt(sandbox.id, request.epoch);
      return snapshots.take(request, sandbox);
    },
    async restore({ workspaceId, tenant, root, epoch }) {
      if (pool.inWorkspace(workspaceId) ?? making.has(workspaceId))
        throw new AtollError('illegal_transition', 'a sandbox works on this workspace');
      await snapshots.ready({ workspaceId, tenant, snapshot: { root, epoch } });
    },
  };

  return {
    link,
    async freeze() {
      frozen = true;
      await Promise.all(pool.all().map((sandbox) => sandbox.freeze('lease')));
    },
    async thaw() {
      frozen = false;
      await Promise.all(pool.all().map((sandbox) => sandbox.thaw('lease')));
    },
    async stop() {
      stopping = true;
      for (const { id } of pool.all()) ending.add(id);
      await Promise.all(pool.all().map((sandbox) => sandbox.end('server_stopped')));
      // Those on their way up see the flag before their driver starts them, or end at once after it did.
      await Promise.allSettled(jobs.values());
      await Promise.all(ends.values());
      await driver.stop();
      await snapshots.close();
    },
  };
}

async function prepareDirectories(
  dataDir: string,
  { workspaces, sockets }: { workspaces: string; sockets: string },
): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await chmod(dataDir, 0o700);
  // Sockets of an earlier incarnation have nobody behind them.
  await rm(sockets, { recursive: true, force: true });
  for (const directory of [workspaces, sockets]) {
    await mkdir(directory, { recursive: true });
    // Sandboxes with a uid of their own pass through here; nobody else gets past the data directory.
    await chmod(directory, 0o711);
  }
}

function toLimits(limits: ResourceLimits): SandboxLimits {
  return {
    memoryBytes: limits.memoryMb * MiB,
    processes: limits.processes,
    cpu: limits.cpu,
    openFiles: limits.openFiles,
    diskBytes: limits.diskMb * MiB,
    wallTimeMs: limits.wallTimeMs,
  };
}

function mountOf(path: string): Mount {
  return { source: path, target: path };
}

function endCause(cause: string): SandboxEndCause {
  return cause === 'evicted' || cause === 'server_stopped' ? cause : 'ended';
}
