/** The two sides of every comparison, behind one face: Atoll, and the floor. */

export type Wanted = {
  url: string;
  method: 'GET' | 'POST';
  headers: Record<string, string>;
  body?: string;
};

export type Target = {
  /** Of the server process; its sandboxes (or bare bridges) are its descendants. */
  readonly pid: number;
  readonly health: Wanted;
  /** The POST whose reply is the SSE of one turn, up to its `done`. */
  turn(session: number, content: string): Wanted;
  [Symbol.asyncDispose](): Promise<void>;
};

export function wantedSession(url: string, headers: Record<string, string>, agent: string): Wanted {
  return {
    url,
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ agent }),
  };
}

export function wantedTurn(url: string, headers: Record<string, string>, content: string): Wanted {
  return {
    url,
    method: 'POST',
    headers: { accept: 'text/event-stream', 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ content }),
  };
}
