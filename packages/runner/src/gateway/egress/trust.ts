/**
 * How a sandbox comes to trust its own authority: two files that it can read, and the variables by which programs find
 * them. Some add to what they trust; most replace it, and get what this host trusts as well.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mount } from '../../driver.ts';

export type Trust = {
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  remove(): Promise<void>;
};

const INSIDE = '/run/atoll';

const ADDING = ['NODE_EXTRA_CA_CERTS'];
const REPLACING = [
  'SSL_CERT_FILE',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'REQUESTS_CA_BUNDLE',
  'AWS_CA_BUNDLE',
  'CARGO_HTTP_CAINFO',
  'npm_config_cafile',
];

/** Where systems keep what they trust: Debian, Fedora, SUSE, Alpine and macOS. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

export async function writeTrust(options: {
  certificate: string;
  directory: string;
  id: string;
  /** Whether the sandbox has paths of its own. */
  enclosed: boolean;
}): Promise<Trust> {
  const { certificate, directory, id, enclosed } = options;
  const files = [
    { name: 'ca.pem', content: certificate, variables: ADDING },
    { name: 'ca-bundle.pem', content: `${await systemBundle()}\n${certificate}`, variables: REPLACING },
  ].map((file) => ({
    ...file,
    source: join(directory, `${id}.${file.name}`),
    target: `${INSIDE}/${file.name}`,
  }));
  // For everybody: inside, it is another user's.
  await Promise.all(files.map(({ source, content }) => writeFile(source, content, { mode: 0o644 })));
  const shown = files.flatMap(({ variables, source, target }) =>
    variables.map((name) => [name, enclosed ? target : source]),
  );
  return {
    env: Object.fromEntries(shown),
    mounts: enclosed ? files.map(({ source, target }) => ({ source, target })) : [],
    async remove() {
      await Promise.all(files.map(({ source }) => rm(source, { force: true })));
    },
  };
}

async function systemBundle(): Promise<string> {
  for (const path of SYSTEM_BUNDLES) {
    const found = await readFile(path, 'utf8').catch(() => ''); // another system's
    if (found !== '') return found;
  }
  return process.getBuiltinModule('node:tls').rootCertificates.join('\n');
}
