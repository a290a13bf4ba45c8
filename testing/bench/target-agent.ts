/** The agent of most measures: a program whose messages are like those of a streaming SDK. */
import { readFileSync } from 'node:fs';

export const AGENT = 'bench';

const executor = { kind: 'program', command: ['node', 'agent.mjs'] };

/** Its folder; `more` goes into its atoll.json. */
export function folderOf(more: object = {}): Record<string, string> {
  return {
    'agent.mjs': readFileSync(new URL('program.mjs', import.meta.url), 'utf8'),
    'atoll.json': JSON.stringify({ executor, ...more }),
  };
}
