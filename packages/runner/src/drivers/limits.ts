import { openCgroups } from './cgroup.ts';

/** By what each limit of a sandbox is held on this machine, for people to read. */
export type LimitMeans = {
  memory: 'cgroup v1' | 'cgroup v2' | 'watchdog';
  processes: 'cgroup v1' | 'cgroup v2' | 'watchdog';
  cpu: 'cgroup v1' | 'cgroup v2' | 'none';
  openFiles: 'rlimit';
  disk: 'watchdog';
};

/** Tries it out for a process started as this one is; what it makes for that it takes back. */
export async function describeLimits(): Promise<LimitMeans> {
  const cgroups = openCgroups(`doctor-${process.pid}`);
  cgroups.release();
  const { memory, pids, cpu } = cgroups.means;
  return {
    memory: memory ?? 'watchdog',
    processes: pids ?? 'watchdog',
    cpu: cpu ?? 'none',
    openFiles: 'rlimit',
    disk: 'watchdog',
  };
}
