import { AtollError } from '@atoll/protocol/errors';
import { isImageName } from '@atoll/protocol/image-name';
import type Docker from 'dockerode';
import { isRefusal } from './docker-engine.ts';

/** What has to be known of an image before a sandbox is made of it. */
export type ImageFacts = {
  id: string;
  /** PATH, where it sets one. */
  path: string | undefined;
  /** Folders that it declares as volumes: each would be a place on the disk that nobody bounds. */
  volumes: readonly string[];
  /** Its own users and groups; empty when it knows none. */
  passwd: string;
  group: string;
};

export type Images = {
  /** Pulls what is not there. Rejects with AtollError `image_unavailable`. */
  find(docker: Docker, name: string): Promise<ImageFacts>;
};

export function createImages(label: Record<string, string>): Images {
  const known = new Map<string, Promise<ImageFacts>>();
  const pulling = new Map<string, Promise<void>>();

  async function find(docker: Docker, name: string): Promise<ImageFacts> {
    if (!isImageName(name)) throw unavailable(name, 'that is not the name of an image');
    const info = await inspect(docker, name);
    if (!info) {
      await pullOnce(docker, name);
      return find(docker, name);
    }
    const facts = known.get(info.Id) ?? lookInto(docker, info, label);
    known.set(info.Id, facts);
    facts.catch(() => known.delete(info.Id));
    return facts;
  }

  /** Twenty sandboxes of a new image are one download. */
  function pullOnce(docker: Docker, name: string): Promise<void> {
    const running = pulling.get(name) ?? pull(docker, name).finally(() => pulling.delete(name));
    pulling.set(name, running);
    return running;
  }

  return { find };
}

async function inspect(docker: Docker, name: string): Promise<Docker.ImageInspectInfo | undefined> {
  try {
    return await docker.getImage(name).inspect();
  } catch (error) {
    if (isRefusal(error, 404)) return undefined;
    throw error;
  }
}

async function pull(docker: Docker, name: string): Promise<void> {
  try {
    // Without a tag the engine would fetch all there are.
    const progress = await docker.pull(/[:@][^/]*$/.test(name) ? name : `${name}:latest`);
    await new Promise<void>((resolve, reject) =>
      docker.modem.followProgress(progress, (error) => (error ? reject(error) : resolve())),
    );
  } catch (error) {
    throw unavailable(name, error);
  }
}

function unavailable(name: string, cause: unknown): AtollError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const detail = `The image ${name} is not on the runner, and it cannot be pulled (${why}). To mend it there: docker pull ${name}`;
  return new AtollError('image_unavailable', detail, { cause });
}

async function lookInto(
  docker: Docker,
  { Id: id, Config: config }: Docker.ImageInspectInfo,
  label: Record<string, string>,
): Promise<ImageFacts> {
  // Never started: files are read from containers only.
  const container = await docker.createContainer({ Image: id, Cmd: ['-'], Labels: label });
  try {
    return {
      id,
      path: config.Env?.find((entry) => entry.startsWith('PATH='))?.slice('PATH='.length),
      volumes: Object.keys(config.Volumes ?? {}),
      passwd: await readFile(container, '/etc/passwd'),
      group: await readFile(container, '/etc/group'),
    };
  } finally {
    await container.remove({ force: true, v: true });
  }
}

/** Longer than any list of users that an image has of its own. */
const MAX_FILE_BYTES = 1 << 20;

const TAR_HEADER_BYTES = 512;

/** Empty when there is no such file, or a longer one. It comes as an archive (tar) with that one file in it. */
async function readFile(container: Docker.Container, path: string): Promise<string> {
  try {
    const archive = await beginningOf(
      await container.getArchive({ path }),
      TAR_HEADER_BYTES + MAX_FILE_BYTES,
    );
    const bytes = Number.parseInt(archive.toString('latin1', 124, 135), 8);
    const isFile = ['0', '\0'].includes(archive.toString('latin1', 156, 157));
    const end = TAR_HEADER_BYTES + bytes;
    return isFile && bytes <= MAX_FILE_BYTES ? archive.toString('utf8', TAR_HEADER_BYTES, end) : '';
  } catch (error) {
    if (isRefusal(error, 404)) return '';
    throw error;
  }
}

/** What comes after it is not fetched: an image may hold files of any length. */
async function beginningOf(stream: AsyncIterable<string | Uint8Array>, bytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    const piece = Buffer.from(chunk);
    pieces.push(piece);
    length += piece.length;
    if (length >= bytes) break;
  }
  return Buffer.concat(pieces);
}
