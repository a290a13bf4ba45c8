/** Which of the two forms of a stream a client wants, by its `Accept` header (RFC 9110, section 12.5.1). */
import { AtollError } from '@atoll/protocol/errors';

export type StreamForm = 'stream' | 'json';

const ANY = '*/*';
const types = {
  stream: ['text/event-stream', 'text/*', ANY],
  json: ['application/json', 'application/*', ANY],
};

/**
 * The form with the higher weight; of two that are wanted as much, the one that is named more closely; then `first`.
 * Throws `not_acceptable` when neither is wanted.
 */
export function formWanted(accept: string | undefined, first: StreamForm): StreamForm {
  const weights = weightsOf(accept?.trim() || ANY);
  const stream = wanted(weights, types.stream);
  const json = wanted(weights, types.json);
  if (stream.weight === 0 && json.weight === 0)
    throw new AtollError('not_acceptable', 'this gives text/event-stream or application/json');
  if (stream.weight !== json.weight) return stream.weight > json.weight ? 'stream' : 'json';
  if (stream.distance !== json.distance) return stream.distance < json.distance ? 'stream' : 'json';
  return first;
}

/** By media range; a weight that is none counts as none given. */
function weightsOf(accept: string): Map<string, number> {
  const ranges = accept.toLowerCase().split(',');
  return new Map(
    ranges.map((range) => {
      const [type = '', ...params] = range.split(';').map((part) => part.trim());
      const weight = params.find((param) => param.startsWith('q='));
      return [type, /^q=[01](?:\.\d*)?$/.test(weight ?? '') ? Number(weight?.slice(2)) : 1];
    }),
  );
}

/** By the closest range that covers the type; how far it is from naming it. */
function wanted(
  weights: ReadonlyMap<string, number>,
  ranges: readonly string[],
): { weight: number; distance: number } {
  const distance = ranges.findIndex((range) => weights.has(range));
  return { weight: weights.get(ranges[distance] ?? '') ?? 0, distance };
}
