/**
 * The certificate authority of one sandbox, with which its gateway ends the TLS of hosts that a credential is for. It is
 * trusted in that sandbox and nowhere else, its key is in this memory and nowhere else, and it ends with the gateway.
 *
 * The libraries are loaded when the first sandbox wants them.
 */
import { randomBytes, type webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import type { SecureContext } from 'node:tls';
import { bare } from './destination.ts';

export type SessionAuthority = {
  /** Its own certificate, PEM. */
  readonly certificate: string;
  /** What TLS for that host is ended with. */
  contextFor(host: string): Promise<SecureContext>;
};

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3600_000;
/** The longest that a sandbox lives. */
const AUTHORITY_MS = 366 * 24 * HOUR_MS;
const LEAF_MS = 24 * HOUR_MS;
/** Clocks may differ. */
const EARLIER_MS = HOUR_MS;
const MAX_LEAVES = 256;

type Leaf = { made: Promise<SecureContext>; freshUntilMs: number };

export async function createSessionAuthority(now: () => number = Date.now): Promise<SessionAuthority> {
  const x509 = await loadX509();
  const { subtle } = globalThis.crypto;
  const keys = await subtle.generateKey(ALGORITHM, false, ['sign', 'verify']);
  const id = randomBytes(8).toString('hex');
  const own = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=Atoll sandbox ${id}`,
    ...validFor(AUTHORITY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const leaves = new Map<string, Leaf>();
  let leafKey: Promise<{ pair: webcrypto.CryptoKeyPair; pem: string }> | undefined;

  function validFor(ms: number): { notBefore: Date; notAfter: Date } {
    return { notBefore: new Date(now() - EARLIER_MS), notAfter: new Date(now() + ms) };
  }

  async function newLeafKey() {
    const pair = await subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const pkcs8 = Buffer.from(await subtle.exportKey('pkcs8', pair.privateKey)).toString('base64');
    return { pair, pem: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n` };
  }

  async function newContext(host: string): Promise<SecureContext> {
    leafKey ??= newLeafKey();
    const { pair, pem } = await leafKey;
    const address = bare(host);
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: '',
      issuer: own.subject,
      ...validFor(LEAF_MS),
      signingAlgorithm: ALGORITHM,
      publicKey: pair.publicKey,
      signingKey: keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        // Critical, since there is no subject (RFC 5280, 4.2.1.6).
        new x509.SubjectAlternativeNameExtension(
          [isIP(address) ? { type: 'ip', value: address } : { type: 'dns', value: host }],
          true,
        ),
        await x509.AuthorityKeyIdentifierExtension.create(own.publicKey),
      ],
    });
    const { createSecureContext } = process.getBuiltinModule('node:tls');
    return createSecureContext({ key: pem, cert: leaf.toString('pem'), minVersion: 'TLSv1.2' });
  }

  return {
    certificate: `${own.toString('pem')}\n`,
    contextFor(host) {
      const known = leaves.get(host);
      leaves.delete(host);
      const fresh = known && known.freshUntilMs > now();
      const leaf = fresh ? known : { made: newContext(host), freshUntilMs: now() + LEAF_MS / 2 };
      leaves.set(host, leaf);
      // The one that was not asked for the longest goes.
      for (const oldest of leaves.keys()) if (leaves.size > MAX_LEAVES) leaves.delete(oldest);
      return leaf.made;
    },
  };
}

/** The first defines what the second looks for as it loads. */
async function loadX509() {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

/** Positive, and not to be guessed. */
function serialNumber(): string {
  return `01${randomBytes(15).toString('hex')}`;
}
