/** An agent folder as it arrives: checked, decoded, hashed. */
import { createHash } from 'node:crypto';
import { AtollError } from '@atoll/protocol/errors';
import { checkPath } from '@atoll/protocol/paths';
import type { AgentFileEntry } from '@atoll/protocol/runner-link';
import { fromBase64 } from '../base64.ts';

export const MAX_FILES = 10_000;

export type UploadedFile = { path: string; content: string; executable: boolean };
export type DecodedFile = AgentFileEntry & { bytes: Uint8Array };

/** Throws `invalid_path` or `invalid_agent`. Sorted by path. */
export function decodeFolder(files: readonly UploadedFile[]): DecodedFile[] {
  if (files.length > MAX_FILES)
    throw new AtollError(
      'invalid_agent',
      `${files.length} files; an agent folder holds at most ${MAX_FILES}`,
    );
  const decoded = files.map(decodeFile).sort((a, b) => (a.path < b.path ? -1 : 1));
  refuseClashes(decoded);
  return decoded;
}

function decodeFile({ path, content, executable }: UploadedFile): DecodedFile {
  checkPath(path);
  const bytes = fromBase64(content);
  if (!bytes) throw new AtollError('invalid_agent', `${path}: content is not valid base64`);
  return { path, bytes, hash: sha256(bytes), sizeBytes: bytes.length, executable };
}

/** No path twice, and none that is a file here and a folder there. */
function refuseClashes(sorted: readonly DecodedFile[]): void {
  const paths = new Set<string>();
  for (const { path } of sorted) {
    if (paths.has(path)) throw new AtollError('invalid_agent', `${path} is there twice`);
    paths.add(path);
  }
  for (const { path } of sorted) {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const parent = path.slice(0, end);
      if (paths.has(parent))
        throw new AtollError('invalid_agent', `${parent} is a file, yet ${path} is below it`);
    }
  }
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
