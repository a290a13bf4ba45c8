/**
 * The bridge's `message` notification has one exact form, so that the runner cuts the SDK's JSON out of it by
 * prefix and suffix and nobody on the hot path parses it (I3, protocols §1).
 */
export const MESSAGE_PREFIX = '{"jsonrpc":"2.0","method":"message","params":';
export const MESSAGE_SUFFIX = '}';

/** The line, LF included, that carries one message. `json` must be one JSON object without raw line breaks. */
export function messageLine(json: string): string {
  return `${MESSAGE_PREFIX}${json}${MESSAGE_SUFFIX}\n`;
}
