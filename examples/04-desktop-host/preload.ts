/** Between the window and the app, like a preload script: a port on one side, typed calls on the other. */
import type { MessagePort } from 'node:worker_threads';
import type { NotesApi, Reply, Request, Step } from './api.ts';

export function exposeNotes(port: MessagePort): NotesApi {
  const waiting = new Map<number, PromiseWithResolvers<string>>();
  const listeners = new Set<(step: Step) => void>();
  let nextId = 1;

  port.on('message', (reply: Reply) => {
    if (reply.id === undefined) {
      for (const listen of listeners) listen(reply.step);
      return;
    }
    const call = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('error' in reply) call?.reject(new Error(reply.error));
    else call?.resolve(reply.value);
  });

  function ask(method: Request['method'], ...args: string[]): Promise<string> {
    const id = nextId++;
    const answer = Promise.withResolvers<string>();
    waiting.set(id, answer);
    port.postMessage({ id, method, args } satisfies Request);
    return answer.promise;
  }

  return {
    add: async (note) => void (await ask('add', note)),
    list: () => ask('list'),
    onStep: (listener) => void listeners.add(listener),
  };
}
