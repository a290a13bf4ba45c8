import { json } from 'node:stream/consumers';
import { AtollError } from '@atoll/protocol/errors';
import * as v from 'valibot';
import type { DriverProblem } from '../driver.ts';

const MEND_INSTALL = 'apt-get install docker.io && systemctl start docker';

/** The path of the engine's socket. Throws AtollError `sandbox_failed` when it is anywhere but on this machine. */
export function socketOf(engine: string): string {
  if (engine.startsWith('unix:///')) return engine.slice('unix://'.length);
  throw new AtollError(
    'sandbox_failed',
    `${engine} is not a Docker engine on this machine, such as unix:///var/run/docker.sock.`,
  );
}

/** What keeps the engine from making sandboxes, by asking it. Without its client, which is slow to load. */
export async function checkDocker(engine: string): Promise<DriverProblem[]> {
  if (process.platform !== 'linux') {
    return [{ problem: 'The docker driver runs on Linux only.', mend: 'atoll start --driver process' }];
  }
  if (!engine.startsWith('unix:///')) {
    return [
      {
        problem: `The Docker engine must be on this machine, and DOCKER_HOST is ${engine}.`,
        mend: 'export DOCKER_HOST=unix:///var/run/docker.sock',
      },
    ];
  }
  try {
    return problemsOf(v.parse(engineInfo, await get(socketOf(engine), '/info')));
  } catch (error) {
    return [unreachable(engine, error)];
  }
}

const engineInfo = v.object({
  OSType: v.string(),
  SecurityOptions: v.nullish(v.array(v.string()), []),
  MemoryLimit: v.optional(v.boolean(), false),
  PidsLimit: v.optional(v.boolean(), false),
  CpuCfsQuota: v.optional(v.boolean(), false),
});

function problemsOf(info: v.InferOutput<typeof engineInfo>): DriverProblem[] {
  const problems: DriverProblem[] = [];
  const limits = { memory: info.MemoryLimit, processes: info.PidsLimit, CPU: info.CpuCfsQuota };
  for (const [what, canLimit] of Object.entries(limits)) {
    if (!canLimit)
      problems.push({
        problem: `This Docker engine cannot limit ${what}.`,
        mend: 'Add cgroup_enable=memory to the kernel command line, and restart',
      });
  }
  if (info.SecurityOptions?.some((option) => option.includes('rootless')))
    problems.push({
      problem: 'A rootless Docker engine gives sandboxes no users of their own.',
      mend: 'atoll start --driver bubblewrap',
    });
  return problems;
}

function unreachable(engine: string, error: unknown): DriverProblem {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EACCES')
    return {
      problem: `This user may not use ${engine}.`,
      mend: `sudo usermod -aG docker "$USER" && newgrp docker`,
    };
  return { problem: `No Docker engine answers at ${engine}.`, mend: MEND_INSTALL };
}

async function get(socketPath: string, path: string): Promise<unknown> {
  const http = process.getBuiltinModule('node:http');
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath, path, agent: false, timeout: 10_000 }, (response) => {
      json(response).then(resolve, reject);
    });
    request.on('timeout', () => request.destroy(new Error('it did not answer in time')));
    request.on('error', reject);
  });
}
