/** When the parts of an SSE reply arrive, on connections that are kept. */
import { once } from 'node:events';
import http from 'node:http';
import { send } from './request.ts';
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

  return {
    async stream(wanted) {
      const start = performance.now();
      const response = await send(wanted, agent);
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
      const response = await send(wanted, agent);
      response.resume();
      await once(response, 'end');
      return performance.now() - start;
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}
