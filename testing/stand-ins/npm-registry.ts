/** A registry of npm with one package, for who knows the token. */
import { createHash } from 'node:crypto';
import type { RequestListener } from 'node:http';

export function npmRegistry(options: {
  url: string;
  name: string;
  tarball: Buffer;
  authorization: string;
}): RequestListener {
  const { url, name, tarball, authorization } = options;
  const dist = {
    tarball: `${url}/${name}/-/${name}-1.0.0.tgz`,
    integrity: `sha512-${createHash('sha512').update(tarball).digest('base64')}`,
  };
  const packument = {
    name,
    'dist-tags': { latest: '1.0.0' },
    versions: { '1.0.0': { name, version: '1.0.0', dist } },
  };
  return (request, response) => {
    if (request.headers.authorization !== authorization) return response.writeHead(401).end('{}');
    if (request.url === `/${name}`)
      return response.setHeader('content-type', 'application/json').end(JSON.stringify(packument));
    if (request.url?.endsWith('.tgz')) return response.end(tarball);
    return response.writeHead(404).end('{}');
  };
}
