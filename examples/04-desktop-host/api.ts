/** All that the window may ask of the app, and all that it is told. */
export type NotesApi = {
  add(note: string): Promise<void>;
  list(): Promise<string>;
  /** Steps of the turns, as they come. Events already told are not told again. */
  onStep(listener: (step: Step) => void): void;
};

export type Step = { seq: number; event: string };

/** What crosses the boundary: the only shape of message that main answers. */
export type Request = { id: number; method: 'add' | 'list'; args: string[] };
export type Reply =
  | { id: number; value: string }
  | { id: number; error: string }
  | { id: undefined; step: Step };
