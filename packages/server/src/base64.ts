/** Strict: Buffer skips what is not base64, so what it understood must be what was sent. undefined when it is not. */
export function fromBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}
