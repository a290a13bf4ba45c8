/** The runner's own way out: names become addresses once, and the addresses that were looked at are those dialled. */
import { lookup } from 'node:dns/promises';
import { connect, isIPv4, type LookupFunction, type OnReadOpts, type Socket } from 'node:net';
import { AtollError } from '@atoll/protocol/errors';

export type Network = {
  /** Every address of a name. Rejects with `egress_unreachable` or `timed_out`. */
  resolve(host: string): Promise<readonly string[]>;
  /** Connects to one of these addresses; how that went is the socket's to tell. `onread`: who reads from it. */
  dial(addresses: readonly string[], port: number, onread?: OnReadOpts): Socket;
  /** Certificate authorities (PEM) instead of those that Node trusts. */
  readonly authorities?: readonly string[];
};

const RESOLVE_MS = 10_000;
const CONNECT_MS = 10_000;

/** A lookup holds one of the four threads that Node has for files, too. */
const MAX_LOOKUPS = 2;

export function createNetwork(): Network {
  const limited = createLimit(MAX_LOOKUPS);
  return {
    async resolve(host) {
      const late = Promise.withResolvers<never>();
      const timer = setTimeout(late.reject, RESOLVE_MS, new AtollError('timed_out', `no answer for ${host}`));
      try {
        const found = limited(() => lookup(host, { all: true, order: 'verbatim' }));
        return (await Promise.race([found, late.promise])).map(({ address }) => address);
      } catch (error) {
        if (error instanceof AtollError) throw error;
        throw new AtollError('egress_unreachable', `${host} has no address (${codeOf(error)})`);
      } finally {
        clearTimeout(timer);
      }
    },
    dial(addresses, port, onread) {
      const all = addresses.map((address) => ({ address, family: isIPv4(address) ? 4 : 6 }));
      const known: LookupFunction = (_host, options, done) => {
        const [first] = all;
        if (options.all || first === undefined) done(null, all);
        else done(null, first.address, first.family);
      };
      // Any name does, since none is looked up.
      const socket = connect({
        host: 'known',
        port,
        lookup: known,
        allowHalfOpen: true,
        noDelay: true,
        ...(onread ? { onread } : {}),
      });
      const timer = setTimeout(
        () => socket.destroy(new AtollError('timed_out', 'no connection in time')),
        CONNECT_MS,
      );
      for (const event of ['connect', 'close'] as const) socket.once(event, () => clearTimeout(timer));
      return socket;
    },
  };
}

/** At most so many at a time; the others wait in line. */
export function createLimit(max: number): <T>(act: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let busy = 0;
  return async (act) => {
    if (busy >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else busy++;
    try {
      return await act();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else busy--;
    }
  };
}

/** The system's code of a failure. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'no reason';
}
