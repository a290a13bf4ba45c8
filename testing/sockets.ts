/** Which processes a program has, and what of them listens on a port of this machine (I8). */
import { readdir, readFile, readlink } from 'node:fs/promises';

/** A process and all that descend from it. */
export async function treeOf(root: number): Promise<number[]> {
  const parents = new Map<number, number>();
  for (const name of await readdir('/proc')) {
    const stat = /^\d+$/.test(name) && (await readFile(`/proc/${name}/stat`, 'utf8').catch(() => undefined));
    if (stat) parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const tree = new Set([root]);
  for (let grown = 0; grown !== tree.size; ) {
    grown = tree.size;
    for (const [pid, parent] of parents) if (tree.has(parent)) tree.add(pid);
  }
  return [...tree];
}

/** Their TCP sockets that listen and their UDP sockets, in the network that the host's processes share. */
export async function listenersOf(pids: readonly number[]): Promise<string[]> {
  const here = await readlink('/proc/self/ns/net');
  const found: string[] = [];
  for (const pid of pids) {
    if ((await readlink(`/proc/${pid}/ns/net`).catch(() => '')) !== here) continue;
    const owned = new Set<string>();
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => []))
      owned.add(await readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''));
    for (const [table, listens] of [
      ['tcp', '0A'],
      ['tcp6', '0A'],
      ['udp', '07'],
      ['udp6', '07'],
    ] as const) {
      const rows = (await readFile(`/proc/${pid}/net/${table}`, 'utf8')).trim().split('\n').slice(1);
      for (const row of rows) {
        const [, local, , status, , , , , , inode] = row.trim().split(/\s+/);
        if (status === listens && owned.has(`socket:[${inode}]`)) found.push(`${pid} ${table} ${local}`);
      }
    }
  }
  return found;
}
