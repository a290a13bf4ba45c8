/**
 * Time, chance and the network of this process, taken over for a simulation: the product asks for them as it always
 * does, and gets those of the node whose step is running.
 */
import { syncBuiltinESMExports } from 'node:module';
import { fillRandom } from '@atoll/protocol/random';
import type { Agenda } from './agenda.ts';
import type { Chance } from './chance.ts';

/** Any moment will do; no date in it is of today. */
const BEGAN_MS = Date.UTC(2030, 0, 1);
const RealDate = Date;

export type Wires = {
  fetch: typeof globalThis.fetch;
  /** As `http.request`, of what the coordinator asks of runners. */
  request: (url: string, options: OutgoingRequest) => unknown;
};

export type OutgoingRequest = {
  method: string;
  headers: Record<string, string>;
  signal?: AbortSignal | undefined;
};

type Bag = Record<string, unknown>;

/** Returns what puts everything back. */
export function takeOver(
  { agenda, chance, wires }: { agenda: Agenda; chance: Chance; wires: Wires },
  wantsStacks: boolean,
): () => void {
  const time = timeOf(agenda);
  const builtin = (name: string) => process.getBuiltinModule(name) as unknown as Bag;
  const undo = [
    replace(globalThis as unknown as Bag, {
      ...time.timers,
      Date: time.Date,
      fetch: wires.fetch,
    }),
    // Stacks cost more than all else of an error, and nobody reads them in ten thousand runs.
    replace(Error as unknown as Bag, { stackTraceLimit: wantsStacks ? Error.stackTraceLimit : 0 }),
    replace(Math as unknown as Bag, { random: chance.next }),
    replace(performance as unknown as Bag, { now: () => agenda.now }),
    replace(globalThis.crypto as unknown as Bag, {
      getRandomValues: chance.bytes,
      randomUUID: () => `uuid-${chance.between(0, 2 ** 52)}`,
    }),
    replace(AbortSignal as unknown as Bag, { timeout: time.timeout, any }),
    replace(builtin('node:timers/promises'), time.promised),
    replace(builtin('node:os'), { uptime: () => 1000 + agenda.now / 1000 }),
    replace(builtin('node:http'), { request: wires.request }),
    replace(builtin('node:crypto'), {
      randomUUID: () => `uuid-${chance.between(0, 2 ** 52)}`,
      randomBytes: (size: number) => chance.bytes(Buffer.alloc(size)),
    }),
  ];
  syncBuiltinESMExports();
  // What was drawn ahead before is used up: ids are of this seed alone.
  fillRandom(new Uint8Array(1024));
  return () => {
    for (const back of undo.reverse()) back();
    syncBuiltinESMExports();
  };
}

/** Node keeps its own for as long as somebody listens, and with it a simulation that is over. */
function any(signals: readonly AbortSignal[]): AbortSignal {
  const abort = new AbortController();
  const aborted = signals.find((signal) => signal.aborted);
  if (aborted) abort.abort(aborted.reason);
  else
    for (const signal of signals)
      signal.addEventListener('abort', () => abort.abort(signal.reason), { once: true });
  return abort.signal;
}

function replace(of: Bag, by: Bag): () => void {
  const before = new Map<string, PropertyDescriptor | undefined>();
  for (const [name, value] of Object.entries(by)) {
    before.set(name, Object.getOwnPropertyDescriptor(of, name));
    Object.defineProperty(of, name, { value, configurable: true, writable: true, enumerable: true });
  }
  return () => {
    for (const [name, known] of before)
      if (known) Object.defineProperty(of, name, known);
      else delete of[name];
  };
}

function timeOf(agenda: Agenda) {
  type Task = (...args: unknown[]) => void;
  const after = (ms: number, run: () => void) => agenda.after(ms, agenda.life, run);

  class SimulatedTimer {
    cancel: () => void = () => undefined;
    ref = () => this;
    unref = () => this;
    hasRef = () => true;
    [Symbol.dispose] = () => this.cancel();
  }

  function setTimeout(task: Task, ms = 0, ...args: unknown[]): SimulatedTimer {
    const timer = new SimulatedTimer();
    timer.cancel = after(Math.max(1, Math.trunc(ms)), () => task(...args));
    return timer;
  }

  function setInterval(task: Task, ms = 0, ...args: unknown[]): SimulatedTimer {
    const timer = new SimulatedTimer();
    const next = () => {
      timer.cancel = after(Math.max(1, ms), () => {
        next();
        task(...args);
      });
    };
    next();
    return timer;
  }

  function setImmediate(task: Task, ...args: unknown[]): SimulatedTimer {
    const timer = new SimulatedTimer();
    timer.cancel = after(0, () => task(...args));
    return timer;
  }

  const clear = (timer?: unknown) => {
    if (timer instanceof SimulatedTimer) timer.cancel();
  };

  function timeout(ms: number): AbortSignal {
    const abort = new AbortController();
    after(ms, () => abort.abort(new DOMException('the operation timed out', 'TimeoutError')));
    return abort.signal;
  }

  function delay(ms = 1, value?: unknown, { signal }: { signal?: AbortSignal } = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const refuse = () => reject(new DOMException('aborted', 'AbortError'));
      if (signal?.aborted) return refuse();
      const leave = () => {
        cancel();
        refuse();
      };
      const cancel = after(Math.max(1, ms), () => {
        signal?.removeEventListener('abort', leave);
        resolve(value);
      });
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  const wallClock = () => BEGAN_MS + Math.floor(agenda.now);
  const SimulatedDate = new Proxy(RealDate, {
    construct: (target, args: unknown[]) =>
      Reflect.construct(target, args.length === 0 ? [wallClock()] : args),
    get: (target, name) => (name === 'now' ? wallClock : Reflect.get(target, name)),
  });
  return {
    timers: {
      ...{ setTimeout, setInterval, setImmediate },
      ...{ clearTimeout: clear, clearInterval: clear, clearImmediate: clear },
    },
    promised: { setTimeout: delay, setImmediate: (value?: unknown) => delay(0, value) },
    timeout,
    Date: SimulatedDate,
  };
}
