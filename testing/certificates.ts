/** A certificate authority of a test's own, in files as `atoll` takes them. */
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 3600_000;

export type Authority = {
  /** Its own certificate. */
  readonly ca: string;
  /** Of a server at that address, or of a client; both can be both. */
  issue(address: string): Promise<{ cert: string; key: string }>;
};

/** Makes the directory. */
export async function createAuthority(directory: string): Promise<Authority> {
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const newKeys = () => crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const validity = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
  const own = await newKeys();
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=the authority ${basename(directory)}`,
    ...validity,
    signingAlgorithm: ALGORITHM,
    keys: own,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  });
  await mkdir(directory);
  const ca = join(directory, 'ca.pem');
  await writeFile(ca, authority.toString('pem'));

  return {
    ca,
    async issue(address) {
      const keys = await newKeys();
      const certificate = await x509.X509CertificateGenerator.create({
        subject: `CN=${address}`,
        issuer: authority.subject,
        ...validity,
        signingAlgorithm: ALGORITHM,
        publicKey: keys.publicKey,
        signingKey: own.privateKey,
        extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: address }])],
      });
      const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
      const [cert, key] = [join(directory, `${address}.pem`), join(directory, `${address}.key`)];
      await writeFile(cert, certificate.toString('pem'));
      await writeFile(key, `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`, {
        mode: 0o600,
      });
      return { cert, key };
    },
  };
}
