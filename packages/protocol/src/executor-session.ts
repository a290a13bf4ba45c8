/**
 * An executor's own name for its conversation, as it may travel: it ends up in argv and in file names, so it begins
 * like no option and no hidden file. Without a schema library, since the bridge checks it too.
 */
const PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/** One that is not is ignored: the next turn then begins a new conversation. */
export function isExecutorSessionId(value: unknown): value is string {
  return typeof value === 'string' && PATTERN.test(value);
}
