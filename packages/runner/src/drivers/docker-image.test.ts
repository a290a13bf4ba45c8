import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import Docker from 'dockerode';
import { createImages } from './docker-image.ts';

const KiB = 1024;

/** A tar of one file, as an engine sends it, which says how much of it was asked for. */
function archiveOf(bytes: number) {
  let taken = 0;
  function* pieces() {
    const header = Buffer.alloc(512);
    header.write(bytes.toString(8).padStart(11, '0'), 124);
    header.write('0', 156);
    yield header;
    for (let left = bytes; left > 0; left -= 64 * KiB) {
      taken += Math.min(left, 64 * KiB);
      yield Buffer.alloc(Math.min(left, 64 * KiB), 'x');
    }
  }
  return { stream: Readable.from(pieces(), { objectMode: false }), taken: () => taken };
}

/** An engine with one image, whose list of users is that archive. */
function engineWith(passwd: Readable): Docker {
  const docker = new Docker({ socketPath: '/nowhere' });
  const container = docker.getContainer('c');
  const missing = Object.assign(new Error('no such file'), { statusCode: 404 });
  return Object.assign(docker, {
    getImage: () => ({ inspect: async () => ({ Id: 'sha256:0', Config: {} }) }),
    createContainer: async () =>
      Object.assign(container, {
        remove: async () => undefined,
        async getArchive({ path }: { path: string }) {
          if (path === '/etc/passwd') return passwd;
          throw missing;
        },
      }),
  });
}

test('the list of users of an image is read', async () => {
  const { passwd, group } = await createImages({}).find(engineWith(archiveOf(100 * KiB).stream), 'any');
  assert.equal(passwd, 'x'.repeat(100 * KiB));
  assert.equal(group, '');
});

test('a list without end is none, and is not fetched to its end', async () => {
  const { stream, taken } = archiveOf(1024 * 1024 * KiB);
  const { passwd } = await createImages({}).find(engineWith(stream), 'any');
  assert.equal(passwd, '');
  assert.ok(taken() < 2 * 1024 * KiB, `${taken()} bytes`);
  assert.ok(stream.destroyed);
});
