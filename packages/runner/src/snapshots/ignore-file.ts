import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from 'node:fs';
import { IGNORE_FILE, MAX_IGNORE_BYTES } from '@atoll/protocol/snapshot-excludes';
import { isErrno } from '../drivers/processes.ts';

/** The workspace's `.atollignore`; empty where there is none that is a regular file of a sensible size. */
export function readIgnoreFile(workspace: string): string {
  const path = `${workspace}/${IGNORE_FILE}`;
  // An error that is thrown costs more than the rest of a look at a small tree.
  if (!lstatSync(path, { throwIfNoEntry: false })?.isFile()) return '';
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ELOOP', 'ENXIO', 'EACCES', 'ENOTDIR')) return '';
    throw error;
  }
  try {
    if (!fstatSync(fd).isFile()) return '';
    const bytes = Buffer.alloc(MAX_IGNORE_BYTES);
    return bytes.toString('latin1', 0, readSync(fd, bytes, 0, MAX_IGNORE_BYTES, 0));
  } finally {
    closeSync(fd);
  }
}
