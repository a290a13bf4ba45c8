/**
 * The network between nodes, as those see it who speak HTTP: a request arrives or does not, its answer comes back or
 * does not, and the bytes of an answer come in order up to some byte. Who is asked twice by a network that is asked
 * once is what a proxy or a client that tries again does.
 */
import type { Agenda, Cancel, Life } from './agenda.ts';
import type { Chance } from './chance.ts';

export type Request = {
  method: string;
  /** With its query. */
  path: string;
  headers: Readonly<Record<string, string>>;
  body: Uint8Array | undefined;
};

/** Where an answer goes. */
export type Reply = {
  /** Aborts when nobody is there any more to hear it. */
  readonly signal: AbortSignal;
  /** All of an answer at once. */
  whole(status: number, headers: Readonly<Record<string, string>>, bytes: Uint8Array): void;
  head(status: number, headers: Readonly<Record<string, string>>): void;
  /** `taken` is called when there is room for the next piece. */
  piece(bytes: Uint8Array, taken: () => void): void;
  end(): void;
};

export type Serve = (request: Request, reply: Reply) => void;

/** What whoever asked hears. */
export type Ears = {
  head(status: number, headers: Readonly<Record<string, string>>): void;
  /** False: no more until `more` is called. */
  piece(bytes: Uint8Array): boolean;
  end(): void;
  fail(code: string): void;
};

export type Call = { leave(): void; more(): void };

export type Network = {
  /** That node answers, in this life, until the life ends. */
  serve(life: Life, serve: Serve): void;
  call(from: Life, to: string, request: Request, ears: Ears): Call;
  /** Nothing gets from one to the other. */
  cut(from: string, to: string): void;
  join(from: string, to: string): void;
  /** Its connections break, sooner or later. */
  ended(life: Life): void;
  /** From 0, where nothing goes wrong by itself, to 1. */
  trouble: number;
};

/** How much may be under way on one connection. */
const WINDOW = 4;
export type Note = (from: string, text: string) => void;

const NO_FATE = { lost: false, twice: false, unanswered: false };

/** `note`: hears of every request and answer. */
export function createNetwork(agenda: Agenda, chance: Chance, note?: Note): Network {
  const serving = new Map<string, { life: Life; serve: Serve }>();
  const cuts = new Set<string>();
  const joined = new Map<string, Set<() => void>>();
  const open = new Set<Connection>();
  const way = (from: string, to: string) => `${from} ${to}`;
  const network = { trouble: 0 };

  const goesWrong = (share: number) => chance.happens(share * network.trouble);

  function latency(): number {
    return goesWrong(0.04) ? chance.between(100, 3_000) : chance.between(1, 12) / 2;
  }

  /** When something can get from one to the other again. */
  function onJoin(from: string, to: string, then: () => void): Cancel {
    const name = way(from, to);
    const listeners = joined.get(name) ?? new Set();
    joined.set(name, listeners.add(then));
    return () => void listeners.delete(then);
  }

  class Connection {
    readonly from: Life;
    readonly to: string;
    readonly ears: Ears;
    served: Life | undefined;
    over = false;
    /** Nothing more comes back. */
    broken = false;
    /** Pieces on their way back, the next first. */
    readonly back: { deliver: () => void; taken: () => void }[] = [];
    moving = false;
    full = false;
    readonly gone = new AbortController();

    constructor(from: Life, to: string, ears: Ears) {
      this.from = from;
      this.to = to;
      this.ears = ears;
      open.add(this);
    }

    /** The one who asked hears that it broke, the other one some time later that nobody listens. */
    fail(code: string, afterMs: number): void {
      this.broken = true;
      agenda.after(afterMs, this.from, () => {
        if (this.over) return;
        this.over = true;
        this.ears.fail(code);
      });
      this.letGo(afterMs + (goesWrong(0.3) ? chance.between(1_000, 15_000) : latency()));
    }

    letGo(afterMs: number): void {
      this.broken = true;
      open.delete(this);
      this.back.length = 0;
      if (this.served) agenda.after(afterMs, this.served, () => this.gone.abort('closed'));
    }

    /** Waits out what is in the way, but not for ever. `then` belongs to that life. */
    pass(way: { from: string; to: string; life: Life; ms: number }, then: () => void): void {
      agenda.after(way.ms, way.life, () => {
        if (this.over) return;
        if (!cuts.has(`${way.from} ${way.to}`)) return then();
        const late = agenda.after(chance.between(4_000, 20_000), way.life, () => {
          unhear();
          this.fail('ETIMEDOUT', 0);
        });
        const unhear = onJoin(way.from, way.to, () => {
          unhear();
          late();
          this.pass({ ...way, ms: latency() }, then);
        });
      });
    }

    /** What is to be heard by the one who asked, after all that came before. */
    send(deliver: () => void, taken: () => void = () => undefined): void {
      if (this.over || this.broken) return;
      this.back.push({ deliver, taken });
      this.move();
      if (this.back.length < WINDOW) taken();
    }

    move(): void {
      const next = this.back[0];
      if (this.moving || this.full || next === undefined) return;
      this.moving = true;
      const { node } = this.from;
      this.pass({ from: this.to, to: node, life: this.from, ms: latency() }, () => {
        this.moving = false;
        if (this.back.shift() !== next) return;
        next.deliver();
        // The first that found the window full.
        const waiting = this.back[WINDOW - 2];
        if (waiting && this.served) agenda.after(0, this.served, waiting.taken);
        this.move();
      });
    }
  }

  function fateOf(): typeof NO_FATE {
    const [lost, twice, unanswered] = [goesWrong(0.04), goesWrong(0.04), goesWrong(0.05)];
    return { lost, twice, unanswered };
  }

  function arrive(connection: Connection, request: Request, unanswered: boolean): void {
    const there = serving.get(connection.to);
    if (there === undefined) return connection.fail('ECONNREFUSED', latency());
    connection.served = there.life;
    // A machine that stands still takes the connection, and says nothing till it goes on.
    agenda.after(0, there.life, () => {
      there.serve(request, unanswered ? brokenReply(connection) : replyOf(connection));
    });
  }

  /** It does what it is asked to, and its answer gets nowhere. */
  function brokenReply(connection: Connection): Reply {
    const broken = () => connection.fail('ECONNRESET', chance.between(0, 2_000));
    return {
      signal: connection.gone.signal,
      whole: broken,
      head: broken,
      piece: (_bytes, taken) => taken(),
      end: () => undefined,
    };
  }

  function replyOf(connection: Connection): Reply {
    const { ears } = connection;
    const finish = () => {
      connection.over = true;
      open.delete(connection);
      ears.end();
    };
    return {
      signal: connection.gone.signal,
      whole(status, headers, bytes) {
        if (goesWrong(0.02)) {
          connection.send(() => ears.head(status, headers));
          return breakWithin(connection, bytes);
        }
        connection.send(() => {
          ears.head(status, headers);
          ears.piece(bytes);
          finish();
        });
      },
      head: (status, headers) => connection.send(() => ears.head(status, headers)),
      piece(bytes, taken) {
        if (goesWrong(0.02)) return breakWithin(connection, bytes);
        connection.send(() => {
          connection.full = !ears.piece(bytes);
        }, taken);
      },
      end: () => connection.send(finish),
    };
  }

  /** Some of it comes, and then nothing: at once an error, or silence before that. */
  function breakWithin(connection: Connection, bytes: Uint8Array): void {
    const come = bytes.subarray(0, chance.between(0, Math.max(0, bytes.length - 1)));
    const silence = chance.happens(0.3) ? chance.between(2_000, 18_000) : 0;
    connection.send(() => {
      if (come.length > 0) connection.ears.piece(come);
      connection.fail('ECONNRESET', silence);
    });
    connection.broken = true;
  }

  function call(from: Life, to: string, request: Request, ears: Ears): Call {
    const connection = new Connection(from, to, note ? noted(from.node, to, request, ears) : ears);
    const fate = fateOf();
    const there = { from: from.node, to, life: from, ms: latency() };
    // Only a connection that was open before can be used without hearing of the other side; it takes one request.
    const deaf = cuts.has(way(to, from.node)) && !chance.happens(0.2);
    if (deaf) connection.fail('ETIMEDOUT', chance.between(1_000, 8_000));
    else if (fate.lost) connection.fail('ECONNRESET', chance.between(5, 3_000));
    else connection.pass(there, () => arrive(connection, request, fate.unanswered));
    if (fate.twice) callAgain(from, to, request);
    return {
      leave() {
        if (connection.over) return;
        connection.over = true;
        connection.letGo(goesWrong(0.2) ? chance.between(500, 15_000) : latency());
      },
      more() {
        connection.full = false;
        connection.move();
      },
    };
  }

  function noted(from: string, to: string, { method, path }: Request, ears: Ears): Ears {
    const call = `${method} http://${to}${path}`;
    note?.(from, `${call} is sent`);
    return {
      head(status, headers) {
        note?.(from, `${call} is answered: ${status}`);
        ears.head(status, headers);
      },
      piece: (bytes) => ears.piece(bytes),
      end() {
        note?.(from, `${call} is over`);
        ears.end();
      },
      fail(code) {
        note?.(from, `${call} broke off: ${code}`);
        ears.fail(code);
      },
    };
  }

  /** A copy, whose answer nobody wants. Whoever came up after the first one was sent does not get it. */
  function callAgain(from: Life, to: string, request: Request): void {
    const there = serving.get(to)?.life;
    const nobody: Ears = { head: () => {}, piece: () => true, end: () => {}, fail: () => {} };
    const copy = new Connection(from, to, nobody);
    const ms = chance.between(0, 4_000);
    copy.pass({ from: from.node, to, life: from, ms }, () => {
      if (there && serving.get(to)?.life === there) arrive(copy, request, false);
    });
    agenda.after(ms + chance.between(0, 5_000), from, () => {
      copy.over = true;
      copy.letGo(latency());
    });
  }

  return {
    get trouble() {
      return network.trouble;
    },
    set trouble(share) {
      network.trouble = share;
    },
    serve: (life, serve) => void serving.set(life.node, { life, serve }),
    call,
    cut: (from, to) => void cuts.add(way(from, to)),
    join(from, to) {
      cuts.delete(way(from, to));
      for (const then of [...(joined.get(way(from, to)) ?? [])]) then();
    },
    ended(life) {
      if (serving.get(life.node)?.life === life) serving.delete(life.node);
      for (const connection of [...open]) {
        const later = chance.happens(0.3) ? chance.between(1_000, 8_000) : latency();
        if (connection.served === life) connection.fail('ECONNRESET', later);
        else if (connection.from === life) connection.letGo(later);
      }
    },
  };
}
