/** When the parts of an SSE reply arrive, on connections that are kept. */
import { once } from 'node:events';
import http from 'node:http';
import type { Wanted } from './target.ts';

export type StreamTimes = { firstEvent: number; firstMessage: number; done: number };

export type TimedClient = {
  /** Milliseconds from the request to each part; what never came counts as `done`. */
  stream(wanted: Wanted): Promise<StreamTimes>;
  /** Milliseconds to the end of the reply, whatever it is. */
  get(wanted: Wanted): Promise<number>;
  [Symbol.dispose](): void;
};

export function createTimedClient(): TimedClient {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

  async function send({ url, method, headers, body }: Wanted): Promise<http.IncomingMessage> {
    const request = http.request(url, { method, headers, agent });
    request.end(body);
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    if (response.statusCode !== 200) throw new Error(`${method} ${url} answered ${response.statusCode}`);
    return response;
  }

  return {
    async stream(wanted) {
      const start = performance.now();
      const response = await send(wanted);
      const at: Partial<StreamTimes> = {};
      response.on('data', (chunk: Buffer) => {
        const ms = performance.now() - start;
        const text = chunk.toString('latin1');
        if (text.includes('event: ')) at.firstEvent ??= ms;
        if (text.includes('event: message\n')) at.firstMessage ??= ms;
        if (text.includes('event: done\n')) at.done ??= ms;
      });
      await once(response, 'end');
      const { done } = at;
      if (done === undefined) throw new Error('the stream ended without a done event');
      return { firstEvent: at.firstEvent ?? done, firstMessage: at.firstMessage ?? done, done };
    },
    async get(wanted) {
      const start = performance.now();
      const response = await send(wanted);
      response.resume();
      await once(response, 'end');
      return performance.now() - start;
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}
