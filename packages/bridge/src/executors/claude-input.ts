/** The input of a long-lived query: an async iterable that turns are pushed into. It ends with its reader. */
export type Input<T> = AsyncIterable<T> & { push(item: T): void };

export function createInput<T>(): Input<T> {
  const waiting: T[] = [];
  let arrived = Promise.withResolvers<void>();
  return {
    push(item) {
      waiting.push(item);
      arrived.resolve();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        await arrived.promise;
        arrived = Promise.withResolvers<void>();
        yield* waiting.splice(0);
      }
    },
  };
}
