/** HTTPS on port 443, where everybody looks for it, with certificates that nobody trusts but who is told to. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http, { type RequestListener } from 'node:http';
import { createServer, isIP, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';

export type Servers = {
  /** `host`: a name or an address of this machine. Rejects with EACCES where this user may not listen there. */
  https(host: string, listener: RequestListener): Promise<void>;
  http(host: string, listener: RequestListener): Promise<void>;
  close(): void;
};

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** Another run of the same tests may be there. */
const MAX_TRIES = 300;

/** `caFile` is what `NODE_EXTRA_CA_CERTS` may be for who is to trust the servers, once there are some. */
export function createServers(caFile: string): Servers {
  const certificates: string[] = [];
  const closing: (() => void)[] = [];

  async function listen(server: Server, host: string, port: number): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        server.listen(port, host);
        await once(server, 'listening');
        closing.push(() => void server.close());
        return;
      } catch (error) {
        const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
        if (!taken || tries === MAX_TRIES) throw error;
        await delay(100);
      }
    }
  }

  return {
    async https(host, listener) {
      const inner = http.createServer(listener);
      const { certificate, secureContext } = await createCertificate(host);
      const server = createServer((socket) => {
        const secure = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ['http/1.1'] });
        secure.on('error', () => socket.destroy()).on('secure', () => inner.emit('connection', secure));
      });
      await listen(server, host, 443);
      closing.push(() => inner.closeAllConnections());
      certificates.push(certificate);
      await writeFile(caFile, certificates.join('\n'));
    },
    async http(host, listener) {
      const server = http.createServer(listener);
      await listen(server, host, 80);
      closing.push(() => server.closeAllConnections());
    },
    close() {
      for (const act of closing) act();
    },
  };
}

async function createCertificate(
  host: string,
): Promise<{ certificate: string; secureContext: SecureContext }> {
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${host}`,
    notBefore: new Date(Date.now() - 3600_000),
    notAfter: new Date(Date.now() + 24 * 3600_000),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.SubjectAlternativeNameExtension([{ type: isIP(host) ? 'ip' : 'dns', value: host }]),
    ],
  });
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`;
  const certificate = made.toString('pem');
  return { certificate, secureContext: createSecureContext({ key, cert: certificate }) };
}
