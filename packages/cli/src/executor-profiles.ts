/** The executor profiles of this machine: what its settings say, and which of it can run here. */
import { describeBridge } from '@atoll/bridge/install';
import { AtollError } from '@atoll/protocol/errors';
import { checkProfile, type ProfileProblem } from '@atoll/runner/executor-profile-check';
import { type ExecutorProfile, readProfiles } from '@atoll/runner/executor-profiles';
import { UsageError } from './failure.ts';
import type { Config } from './settings.ts';

export type CheckedProfile = { profile: ExecutorProfile; problem: ProfileProblem | undefined };

/** Throws UsageError when the settings are not what a profile is made of. */
export function configuredProfiles({ executorProfiles }: Config): ExecutorProfile[] {
  try {
    return readProfiles(executorProfiles);
  } catch (error) {
    if (error instanceof AtollError) throw new UsageError(`executorProfiles: ${error.detail}`);
    throw error;
  }
}

export function checkedProfiles(config: Config): CheckedProfile[] {
  const { executors } = describeBridge();
  const { driver, dataDir } = config;
  const place = { executors, enclosed: driver !== 'process', asRoot: process.geteuid?.() === 0, dataDir };
  return configuredProfiles(config).map((profile) => ({ profile, problem: checkProfile(profile, place) }));
}
