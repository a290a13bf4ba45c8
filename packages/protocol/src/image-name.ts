/**
 * A container image by name, tag or digest, as `docker pull` takes it. Looser than the grammar of registries, and narrow
 * enough to stand in a URL's path: an engine is asked for it there.
 */
export function isImageName(text: string): boolean {
  return text.length <= 255 && /^[A-Za-z0-9](?:[A-Za-z0-9_:@/-]|\.(?!\.))*$/.test(text);
}
