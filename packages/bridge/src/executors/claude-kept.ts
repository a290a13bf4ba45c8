/**
 * The name of the conversation that was begun in this home, kept there before its first message. The runner hears it
 * at the end of a turn; a crash in the first one leaves only this, and the transcript that goes by the name.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isExecutorSessionId } from '@atoll/protocol/executor-session';

const fileIn = (home: string) => join(home, '.claude', 'atoll-session');

export async function keptSession(home: string): Promise<string | undefined> {
  try {
    const kept = await readFile(fileIn(home), 'utf8');
    return isExecutorSessionId(kept) ? kept : undefined;
  } catch {
    // Nothing was begun here, or the agent threw it away.
    return undefined;
  }
}

export async function keepSession(home: string, id: string): Promise<void> {
  await mkdir(dirname(fileIn(home)), { recursive: true });
  await writeFile(fileIn(home), id, { mode: 0o600 });
}
