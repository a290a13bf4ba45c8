import { once } from 'node:events';
import http from 'node:http';
import type { Wanted } from './target.ts';

/** The reply once its head is there; rejects unless it is 200 or 201. */
export async function send(
  { url, method, headers, body }: Wanted,
  agent: http.Agent,
): Promise<http.IncomingMessage> {
  const request = http.request(url, { method, headers, agent });
  request.end(body);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  if (response.statusCode !== 200 && response.statusCode !== 201)
    throw new Error(`${method} ${url} answered ${response.statusCode}`);
  return response;
}
