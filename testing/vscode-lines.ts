/** `vscode-jsonrpc` on a wire of lines: its own framing is that of headers. */
import type { Readable, Writable } from 'node:stream';
import {
  AbstractMessageReader,
  AbstractMessageWriter,
  CancellationTokenSource,
  createMessageConnection,
  type DataCallback,
  type Disposable,
  type Message,
  ParameterStructures,
} from 'vscode-jsonrpc/node';

class LineReader extends AbstractMessageReader {
  readonly #input: Readable;

  constructor(input: Readable) {
    super();
    this.#input = input;
  }

  listen(callback: DataCallback): Disposable {
    let rest = '';
    const take = (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) callback(JSON.parse(line) as Message);
    };
    this.#input.on('data', take);
    return { dispose: () => this.#input.off('data', take) };
  }
}

class LineWriter extends AbstractMessageWriter {
  readonly #output: Writable;

  constructor(output: Writable) {
    super();
    this.#output = output;
  }

  async write(message: Message): Promise<void> {
    this.#output.write(`${JSON.stringify(message)}\n`);
  }

  end(): void {}
}

export type VscodeHost = {
  request(method: string, params: object): Promise<unknown>;
  /** A request that is cancelled as soon as it is out. */
  cancelled(method: string, params: object): Promise<unknown>;
  on(method: string, handler: (params: { event: string }) => void): void;
  [Symbol.dispose](): void;
};

export function connectLines(input: Readable, output: Writable): VscodeHost {
  const connection = createMessageConnection(new LineReader(input), new LineWriter(output));
  connection.listen();
  const { byName } = ParameterStructures;
  return {
    request: (method, params) => connection.sendRequest(method, byName, params),
    async cancelled(method, params) {
      const source = new CancellationTokenSource();
      const answer = connection.sendRequest(method, byName, params, source.token);
      source.cancel();
      return answer;
    },
    on: (method, handler) => void connection.onNotification(method, handler),
    [Symbol.dispose]: () => connection.dispose(),
  };
}
