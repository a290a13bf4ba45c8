import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mount, SandboxOwner } from '../driver.ts';
import { insidePaths } from './bubblewrap-args.ts';

export type Users = { passwd: string; group: string };

/** As whom a sandbox runs where it has no user namespace: the owner of its files. */
export function userOf(owner: SandboxOwner): { uid: number; gid: number } {
  return owner ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

/** Those users and this sandbox's own, before a namesake among them: programs look themselves up. */
export function writeUsers(directory: string, owner: SandboxOwner, others: Users): Mount[] {
  const { uid, gid } = userOf(owner);
  const files = {
    passwd: `agent:x:${uid}:${gid}:agent:${insidePaths.home}:/bin/sh\n${others.passwd}`,
    group: `agent:x:${gid}:\n${others.group}`,
  };
  return Object.entries(files).map(([name, text]) => {
    const source = join(directory, name);
    writeFileSync(source, text, { mode: 0o644 });
    return { source, target: `/etc/${name}` };
  });
}
