import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { Warn } from '../driver.ts';
import { isRefusal } from './docker-engine.ts';
import type { ProcessEnd } from './live-sandbox.ts';

export type EndOptions = {
  warn: Warn;
  /** Aborts when the engine went away. */
  gone: AbortSignal;
  /** Aborts when the driver stops: what it cannot remove by then is left to the next sweep. */
  stopping: AbortSignal;
  retryMs?: number;
};

const RETRY_MS = 1000;
/** An engine takes seconds to start again, and minutes to be replaced by a newer one. */
const MAX_TRIES = 300;

const KILLED_STATUS = 128 + 9;

/**
 * How a container ended. Never rejects. An engine may go away and leave its containers running (live-restore): one that
 * is told ended then would work on beside its successor, so none is before the engine is back and has removed it.
 */
export async function endOf(container: Docker.Container, options: EndOptions): Promise<ProcessEnd> {
  try {
    const { StatusCode: code } = await unlessGone(container.wait({ condition: 'removed' }), options.gone);
    return code === KILLED_STATUS ? { exitCode: null, signal: 'SIGKILL' } : { exitCode: code, signal: null };
  } catch (error) {
    options.warn(error, 'the end of a container could not be awaited');
    const failure = await removeAtLast(container, options);
    if (failure !== undefined) options.warn(failure, 'a container may run on');
    return { exitCode: null, signal: 'SIGKILL' };
  }
}

/** An answer that has begun and is cut off neither resolves nor rejects. */
function unlessGone<T>(answer: Promise<T>, gone: AbortSignal): Promise<T> {
  const { promise: cut, reject } = Promise.withResolvers<never>();
  const leave = () => reject(gone.reason);
  if (gone.aborted) leave();
  gone.addEventListener('abort', leave, { once: true });
  return Promise.race([answer, cut]).finally(() => gone.removeEventListener('abort', leave));
}

/** Why it could not be done, if it could not. */
async function removeAtLast(
  container: Docker.Container,
  { stopping, retryMs = RETRY_MS }: EndOptions,
): Promise<unknown> {
  for (let tries = 1; ; tries++) {
    try {
      await container.remove({ force: true, v: true });
      return undefined;
    } catch (error) {
      if (isRefusal(error, 404)) return undefined;
      if (tries === MAX_TRIES || stopping.aborted) return error;
    }
    // Stopping, it tries once more.
    await delay(retryMs, undefined, { signal: stopping }).catch(() => undefined);
  }
}

export async function removeContainer(container: Docker.Container): Promise<void> {
  try {
    await container.remove({ force: true, v: true });
  } catch (error) {
    // Gone, or on its way.
    if (!isRefusal(error, 404, 409)) throw error;
  }
}
