import { UsageError } from '../failure.ts';
import { given, wholeNumber } from '../input.ts';
import type { Invocation } from '../invocation.ts';

export async function run(invocation: Invocation): Promise<void> {
  const { options, lists, switches, terminal, signal } = invocation;
  const labels = pairs('label', lists.label);
  const demands = given({ labels, driver: options.driver });
  const params = given({
    name: options.name,
    image: options.image,
    snapshotId: options.snapshot,
    cpu: amount('cpu', options.cpu),
    memoryMb: wholeNumber('memory', options.memory),
    timeoutMs: wholeNumber('timeout-ms', options['timeout-ms']),
    env: pairs('env', lists.env),
    demands: Object.keys(demands).length === 0 ? undefined : demands,
  });
  const client = await invocation.client();
  const wait = switches['no-wait'] !== true;
  const made = await client.call('sandbox.create', { ...params, wait }, { signal });
  // The id alone, so that `id=$(atoll sandbox create)` works.
  return terminal.json ? terminal.value(made) : terminal.line(made.sandbox.id);
}

function amount(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,4}(\.\d{1,3})?$/.test(text)) throw new UsageError(`--${flag} must be a number, as 0.5 or 2`);
  return Number(text);
}

function pairs(flag: string, given: readonly string[] = []): Record<string, string> | undefined {
  if (given.length === 0) return undefined;
  return Object.fromEntries(
    given.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new UsageError(`--${flag} must be NAME=VALUE`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}
