/** What a session's row keeps beside its state. */

/** The executor that said it works for the session. */
export type BoundExecutor = {
  executorSessionId: string;
  projectDir: string | null;
  hostname: string | null;
  executorProfile: string | null;
};

/** What an executor or a client said of a session: no decision of ours is taken by it. */
export type Reported = {
  readonly bound: BoundExecutor | null;
  readonly metadata: Readonly<Record<string, unknown>>;
};
