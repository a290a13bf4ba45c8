/**
 * Whether an executor profile can run on this machine: its kind is installed, and what it starts is something that its
 * sandboxes see. Looks at files only; nothing is started.
 */
import { accessSync, constants, existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import type { ExecutorKind } from '@atoll/protocol/executor-kinds';
import { type ExecutorProfile, isAt, ownPlaces } from './executor-profiles.ts';

/** Whether a kind of executor can run, whatever the profile. */
export type Availability = { available: true } | { available: false; reason: string; mend: string };

export type ProfileProblem = { problem: string; mend: string };

export type ProfilePlace = {
  executors: Readonly<Record<ExecutorKind, Availability>>;
  /** The driver shows its sandboxes the system and what is mounted, and nothing else of the host. */
  enclosed: boolean;
  /** Sandboxes run as users of their own then, who must be let in. */
  asRoot: boolean;
  /** No sandbox may see it. */
  dataDir: string;
};

/** What every enclosed sandbox sees of the host, at the same path. */
const SYSTEM = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
const PROGRAMS = ['/usr/local/bin', '/usr/bin', '/bin'];

/** What keeps it from running here; undefined when it can. */
export function checkProfile(profile: ExecutorProfile, place: ProfilePlace): ProfileProblem | undefined {
  const kind = place.executors[profile.settings.kind];
  if (!kind.available) return { problem: kind.reason, mend: kind.mend };
  return mountProblem(profile, place) ?? programProblem(profile, place) ?? pathProblem(profile, place);
}

function mountProblem(
  { name, mounts }: ExecutorProfile,
  { dataDir, enclosed, asRoot }: ProfilePlace,
): ProfileProblem | undefined {
  const mend = `Correct "mounts" of executorProfiles.${name} in atoll.config.json`;
  const missing = mounts.find((mount) => !existsSync(mount));
  if (missing !== undefined) return { problem: `${missing}, which it mounts, is not there.`, mend };
  const data = existsSync(dataDir) ? realpathSync(dataDir) : dataDir;
  const telling = mounts.find((mount) => {
    const real = realpathSync(mount);
    return isAt(real, data) || isAt(data, real);
  });
  if (telling !== undefined)
    return { problem: `${telling}, which it mounts, would show Atoll's own data.`, mend };
  const closed = enclosed && asRoot ? mounts.find((mount) => !isOpen(mount)) : undefined;
  if (closed === undefined) return undefined;
  return {
    problem: `${closed}, which it mounts, cannot be read by others than its owner.`,
    mend: `chmod -R a+rX ${closed}`,
  };
}

function isOpen(path: string): boolean {
  const found = statSync(path);
  const needed = found.isDirectory() ? 0o005 : 0o004;
  return (found.mode & needed) === needed;
}

/** A path relative to the workspace is the agent's own business, and `node` is in every sandbox. */
function programProblem(profile: ExecutorProfile, place: ProfilePlace): ProfileProblem | undefined {
  const { name, settings, env } = profile;
  const program = settings.command?.[0];
  if (program === undefined || program === 'node') return undefined;
  if (program.includes('/') && (!isAbsolute(program) || isInside(program))) return undefined;
  const places = env.PATH?.split(':') ?? PROGRAMS;
  const found = isAbsolute(program) ? [program] : places.map((directory) => join(directory, program));
  if (found.some((path) => isProgram(path) && (isAbsolute(program) || isSeen(path, profile, place))))
    return undefined;
  return {
    problem: isAbsolute(program)
      ? `${program} is no program.`
      : `${program} is not found in ${places.join(', ')}.`,
    mend: `Install it, or say where it is in "command" of executorProfiles.${name} in atoll.config.json, and what it needs of this machine in "mounts"`,
  };
}

/** A file of the host's that the command names, and that is not to be seen inside; or a script that is not there. */
function pathProblem(profile: ExecutorProfile, place: ProfilePlace): ProfileProblem | undefined {
  const [program, script = ''] = profile.settings.command ?? [];
  if (program === 'node' && isAbsolute(script) && !isInside(script) && !existsSync(script))
    return {
      problem: `${script} is not there.`,
      mend: `Correct "command" of executorProfiles.${profile.name} in atoll.config.json`,
    };
  const hidden = profile.settings.command?.find(
    (word) => isAbsolute(word) && !isInside(word) && existsSync(word) && !isSeen(word, profile, place),
  );
  if (hidden === undefined) return undefined;
  return {
    problem: `${hidden} is outside of what its sandboxes see.`,
    mend: `Add "mounts": ["${dirname(realpathSync(hidden))}"] to executorProfiles.${profile.name} in atoll.config.json`,
  };
}

function isInside(path: string): boolean {
  return ownPlaces.some((place) => isAt(path, place));
}

/** By its name and by where that leads. */
function isSeen(path: string, { mounts }: ExecutorProfile, { enclosed }: ProfilePlace): boolean {
  const shown = [...SYSTEM, ...mounts];
  return !enclosed || [path, realpathSync(path)].every((at) => shown.some((place) => isAt(at, place)));
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    // Not there, or not to be executed by us.
    return false;
  }
}
