/** How a simulated node asks another one: as `fetch`, and as `http.request`, over the simulated network. */
import { Readable, Writable } from 'node:stream';
import type { Agenda } from './agenda.ts';
import type { OutgoingRequest, Wires } from './globals.ts';
import type { Call, Ears, Network } from './network.ts';

export function createWires(agenda: Agenda, network: Network): Wires {
  return {
    request: (url, options) => new Asked(url, options, agenda, network),
    fetch: (input, init = {}) => fetchOver(agenda, network, new URL(String(input)), init),
  };
}

function pathOf(url: URL): string {
  return url.pathname + url.search;
}

/** As much of a ClientRequest as there is use for here. Emits `response` and `error`. */
class Asked extends Writable {
  #answer: Answered | undefined;
  #call: Call | undefined;
  readonly #body: Uint8Array[] = [];
  readonly #send: () => void;

  constructor(text: string, { method, headers, signal }: OutgoingRequest, agenda: Agenda, network: Network) {
    super({ autoDestroy: false });
    const url = new URL(text);
    const from = agenda.life;
    this.#send = () => {
      const body = this.#body.length > 0 ? Buffer.concat(this.#body) : undefined;
      const request = { method, path: pathOf(url), headers, body };
      this.#call = network.call(from, url.hostname, request, this.#ears());
    };
    const abort = () => this.#abort();
    if (signal?.aborted) process.nextTick(abort);
    else signal?.addEventListener('abort', abort, { once: true });
    this.once('over', () => signal?.removeEventListener('abort', abort));
  }

  override _write(bytes: Uint8Array, _encoding: string, done: () => void): void {
    this.#body.push(bytes);
    done();
  }

  override _final(done: () => void): void {
    if (!this.destroyed) this.#send();
    done();
  }

  #abort(): void {
    this.#call?.leave();
    this.#fail(Object.assign(new Error('aborted'), { code: 'ABORT_ERR' }));
  }

  #fail(error: Error): void {
    this.emit('over');
    if (this.#answer) this.#answer.destroy(error);
    else this.destroy(error);
  }

  #ears(): Ears {
    return {
      head: (status, headers) => {
        const answer = new Answered(status, headers, () => this.#call?.more());
        this.#answer = answer;
        // Whoever lets go of the answer lets go of the connection.
        answer.once('close', () => this.#call?.leave());
        this.emit('response', answer);
      },
      piece: (bytes) => this.#answer?.push(bytes) ?? true,
      end: () => {
        this.emit('over');
        this.#answer?.push(null);
      },
      fail: (code) => this.#fail(Object.assign(new Error(`the network: ${code}`), { code })),
    };
  }
}

class Answered extends Readable {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly #more: () => void;

  constructor(status: number, headers: Readonly<Record<string, string>>, more: () => void) {
    super({ highWaterMark: 4096 });
    this.statusCode = status;
    this.headers = headers;
    this.#more = more;
  }

  override _read(): void {
    this.#more();
  }

  /** As an IncomingMessage does: an error that nobody listens for is none. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    process.nextTick(() => done(this.listenerCount('error') === 0 ? null : error));
  }
}

function fetchOver(agenda: Agenda, network: Network, url: URL, init: RequestInit): Promise<Response> {
  const { promise, resolve, reject } = Promise.withResolvers<Response>();
  const { method = 'GET', body, signal } = init;
  const headers = Object.fromEntries(new Headers(init.headers));
  let stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  let over = false;

  function finish(): void {
    over = true;
    signal?.removeEventListener('abort', abort);
  }
  function fail(error: unknown): void {
    if (over) return;
    finish();
    reject(error);
    stream?.error(error);
  }
  function abort(): void {
    call?.leave();
    fail(signal?.reason);
  }
  if (signal?.aborted) return Promise.reject(signal.reason);
  signal?.addEventListener('abort', abort, { once: true });

  const bytes = typeof body === 'string' ? Buffer.from(body) : body instanceof Uint8Array ? body : undefined;
  const request = { method, path: pathOf(url), headers, body: bytes };
  const call: Call | undefined = network.call(agenda.life, url.hostname, request, {
    head(status, answered) {
      const content = new ReadableStream<Uint8Array>(
        {
          start(controller) {
            stream = controller;
          },
          pull: () => call?.more(),
          cancel() {
            call?.leave();
            finish();
          },
        },
        { highWaterMark: 2 },
      );
      resolve(new Response(content, { status, headers: answered }));
    },
    piece(piece) {
      if (over) return true;
      stream?.enqueue(new Uint8Array(piece));
      return (stream?.desiredSize ?? 1) > 0;
    },
    end() {
      if (over) return;
      finish();
      stream?.close();
    },
    fail: (code) => fail(new TypeError('fetch failed', { cause: new Error(code) })),
  });
  return promise;
}
