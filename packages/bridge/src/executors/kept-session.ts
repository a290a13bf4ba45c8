/**
 * The name of the conversation that was begun in this home, kept there before its first message, in a directory of the
 * executor's own. The runner hears it at the end of a turn; a crash in the first one leaves only this, and what the
 * agent saved under the name.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isExecutorSessionId } from '@atoll/protocol/executor-session';

const fileIn = (home: string, directory: string) => join(home, directory, 'atoll-session');

export async function keptSession(home: string, directory: string): Promise<string | undefined> {
  try {
    const kept = await readFile(fileIn(home, directory), 'utf8');
    return isExecutorSessionId(kept) ? kept : undefined;
  } catch {
    // Nothing was begun here, or the agent threw it away.
    return undefined;
  }
}

export async function keepSession(home: string, directory: string, id: string): Promise<void> {
  const file = fileIn(home, directory);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, id, { mode: 0o600 });
}
