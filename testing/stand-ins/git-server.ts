/** Git over HTTP: `git http-backend` as CGI (RFC 3875), for who knows the password. */
import { spawn } from 'node:child_process';
import type { RequestListener } from 'node:http';

export function gitServer(options: { root: string; authorization: string }): RequestListener {
  const { root, authorization } = options;
  return (request, response) => {
    if (request.headers.authorization !== authorization)
      return response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
    const [path = '', query = ''] = (request.url ?? '').split('?');
    const env = {
      PATH: '/usr/bin:/bin',
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      // The repository may be another user's.
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
      PATH_INFO: path,
      QUERY_STRING: query,
      REQUEST_METHOD: request.method,
      REMOTE_USER: 'agent',
      CONTENT_TYPE: request.headers['content-type'],
      CONTENT_LENGTH: request.headers['content-length'],
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'],
      HTTP_GIT_PROTOCOL: request.headers['git-protocol']?.toString(),
    };
    const git = spawn('git', ['http-backend'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
    request.pipe(git.stdin);
    git.stdin.on('error', () => undefined);
    let head = Buffer.alloc(0);
    git.stdout.on('data', function onHead(chunk: Buffer) {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end === -1) return;
      git.stdout.off('data', onHead);
      for (const line of head.toString('latin1', 0, end).split('\r\n')) {
        const [name = '', value = ''] = line.split(': ');
        if (name === 'Status') response.statusCode = Number.parseInt(value, 10);
        else response.setHeader(name, value);
      }
      response.write(head.subarray(end + 4));
      git.stdout.pipe(response);
    });
  };
}
