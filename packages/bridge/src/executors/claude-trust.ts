/**
 * Whoever deploys an agent folder trusts it; the CLI would ask a person at its first start there, and until then skip
 * what `.claude/settings.json` allows. The answer is kept where the CLI keeps it: in `.claude.json` of the home.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isRecord } from '../params.ts';

export async function trustWorkspace(home: string, workspace: string): Promise<void> {
  const file = join(home, '.claude.json');
  const kept = await readKept(file);
  const projects = isRecord(kept.projects) ? kept.projects : {};
  const project = isRecord(projects[workspace]) ? projects[workspace] : {};
  if (project.hasTrustDialogAccepted === true) return;
  const trusted = { ...projects, [workspace]: { ...project, hasTrustDialogAccepted: true } };
  await writeFile(`${file}.new`, JSON.stringify({ ...kept, projects: trusted }), { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** A file that is missing or no longer JSON is begun anew, as the CLI does. */
async function readKept(file: string): Promise<Record<string, unknown>> {
  try {
    const kept: unknown = JSON.parse(await readFile(file, 'utf8'));
    return isRecord(kept) ? kept : {};
  } catch {
    return {};
  }
}
