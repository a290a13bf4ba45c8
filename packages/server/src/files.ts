/** Files as all parts of the server handle them. */
import { type FileHandle, open } from 'node:fs/promises';

/** Closes the file, whatever happens. */
export async function usingFile(file: FileHandle, use: (file: FileHandle) => Promise<void>): Promise<void> {
  try {
    await use(file);
  } finally {
    await file.close();
  }
}

/** Makes the names in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  await usingFile(await open(folder, 'r'), (file) => file.sync());
}

/** Whether the system gave this reason, as ENOENT. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
