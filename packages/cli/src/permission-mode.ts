import { UsageError } from './failure.ts';

const modes = ['default', 'acceptEdits', 'bypassPermissions', 'plan', 'dontAsk'] as const;

export function permissionMode(text: string | undefined): (typeof modes)[number] | undefined {
  const mode = modes.find((name) => name === text);
  if (text !== undefined && mode === undefined)
    throw new UsageError(`--permission-mode must be one of ${modes.join(', ')}`);
  return mode;
}
