/**
 * The Docker engine that tests use, and images for them made from what is on this machine: no registry is needed.
 * `npm test` starts an engine of its own where it can (scripts/docker-engine.ts) and tells of it by DOCKER_HOST.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, lstatSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import Docker from 'dockerode';

/** This machine's shell, tools, perl and git. */
export const HOST_IMAGE = 'atoll-test-host:latest';
/** Nothing at all. */
export const EMPTY_IMAGE = 'atoll-test-empty:latest';

export const testEngine = process.env.DOCKER_HOST ?? '';

/** For the `skip` of a test: why it cannot run, if it cannot. In CI that is no reason: what is missing there is a fault. */
export function missingEngine(): string | false {
  if (testEngine !== '') return false;
  const reason = 'no Docker engine: apt-get install docker.io, and npm test as root; or set DOCKER_HOST';
  if (process.env.CI !== undefined) throw new Error(reason);
  return reason;
}

const programs = (
  'sh bash cat ls cp rm mv ln mkdir mkfifo mknod chmod chown touch stat id env echo true false sleep head tail tr od dd ' +
  'grep sed rev sort wc find xargs date uname tar gzip su unshare perl git ps kill printf pwd dirname basename mount'
).split(' ');

/** What programs from elsewhere may be linked with. */
const glibc = 'libm.so.6 librt.so.1 libdl.so.2 libpthread.so.0 libresolv.so.2 libgcc_s.so.1'.split(' ');

/** Makes those of them that the engine does not have. */
export async function makeTestImages(): Promise<void> {
  const docker = new Docker({ socketPath: testEngine.replace(/^unix:\/\//, '') });
  await make(docker, EMPTY_IMAGE, () => Readable.from([Buffer.alloc(1024)]));
  await make(docker, HOST_IMAGE, archiveOfHost);
}

async function make(docker: Docker, name: string, archive: () => Readable): Promise<void> {
  const [repo = '', tag = ''] = name.split(':');
  const image = docker.getImage(name);
  if (await image.inspect().catch(() => undefined)) return;
  await text((await docker.importImage(archive(), { repo, tag })) as Readable);
}

/** The programs with their libraries, what perl and git load, and the users. */
function archiveOfHost(): Readable {
  const found = programs.flatMap(locate);
  const libc = found.flatMap(librariesOf).find((path) => basename(path) === 'libc.so.6') ?? '';
  const folders = [
    ...glibc.map((name) => join(dirname(libc), name)),
    '/usr/lib/git-core',
    '/usr/share/git-core',
    ...perlFolders(),
    '/usr/lib/locale/C.utf8',
    '/etc/passwd',
    '/etc/group',
  ];
  const paths = [...found, ...found.flatMap(librariesOf), ...folders].filter((path) => existsSync(path));
  const links = ['/bin', '/sbin', '/lib', '/lib64'].filter((path) => lstatSync(path).isSymbolicLink());
  const all = new Set([...links, ...paths.flatMap((path) => [inRealFolder(path), realpathSync(path)])]);
  const names = [...all].map((path) => `.${path}`);
  return spawn('tar', ['-C', '/', '-c', ...names], { stdio: ['ignore', 'pipe', 'ignore'] }).stdout;
}

/** The name itself, which may be a link, where its folder really is. */
function inRealFolder(path: string): string {
  return join(realpathSync(dirname(path)), basename(path));
}

function locate(program: string): string[] {
  const places = ['/usr/bin', '/bin', '/usr/sbin'].map((folder) => join(folder, program));
  return places.filter((path) => existsSync(path)).slice(0, 1);
}

function librariesOf(program: string): string[] {
  try {
    const listed = execFileSync('ldd', [program], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return [...listed.matchAll(/(\/\S+) \(0x/g)].flatMap(([, path]) => (path ? [path] : []));
  } catch {
    return []; // A script.
  }
}

function perlFolders(): string[] {
  return execFileSync('perl', ['-e', 'print join "\\n", @INC'], { encoding: 'utf8' }).split('\n');
}
