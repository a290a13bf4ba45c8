/** What can drive an agent. Each kind has a built-in executor profile of its own name. */
export const executorKinds = ['claude', 'acp', 'codex', 'program'] as const;
export type ExecutorKind = (typeof executorKinds)[number];

/** What is nothing without a command of its own. */
export const commandKinds: readonly ExecutorKind[] = ['acp', 'program'];
