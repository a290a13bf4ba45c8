/** The files of a workspace, whoever works on it. */
import type { OperationParams, OperationResult } from '@atoll/protocol/operations';
import type { FileContent, SandboxFiles } from '@atoll/protocol/runner-link';

type Page = Omit<OperationParams<'session.files.list'>, 'sessionId'>;
type Piece = Omit<OperationParams<'session.files.read'>, 'sessionId'>;

export function listFiles(
  files: SandboxFiles,
  workspaceId: string,
  { prefix, limit, cursor }: Page,
): Promise<OperationResult<'session.files.list'>> {
  return files.list({
    workspaceId,
    limit,
    ...(prefix === undefined ? {} : { prefix }),
    ...(cursor === undefined ? {} : { cursor }),
  });
}

export function readFile(
  files: SandboxFiles,
  workspaceId: string,
  { path, offset, length }: Piece,
): Promise<FileContent> {
  const range = { offset, length: length ?? Number.MAX_SAFE_INTEGER };
  return files.read({ workspaceId, path, range });
}

export async function writeFile(
  files: SandboxFiles,
  request: Parameters<SandboxFiles['write']>[0],
): Promise<OperationResult<'session.files.write'>> {
  return { file: { path: request.path, ...(await files.write(request)) } };
}

export async function removeFile(
  files: SandboxFiles,
  request: { workspaceId: string; path: string },
): Promise<{ path: string }> {
  await files.remove(request);
  return { path: request.path };
}
