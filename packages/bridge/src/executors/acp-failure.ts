import type { Failure } from './line-process.ts';

/** Why an ACP agent cannot do what it is to do, as a turn's end tells it. */
export class AcpFailure extends Error {
  override readonly name = 'AcpFailure';
  readonly failure: Failure;

  constructor(cause: Failure['cause'], detail: string) {
    super(detail);
    this.failure = { cause, detail };
  }
}

/** Something that this agent cannot be told. */
export function notForAgent(detail: string): AcpFailure {
  return new AcpFailure('executor_failed', detail);
}
