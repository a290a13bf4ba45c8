import { AtollError } from '@atoll/protocol/errors';
import * as v from 'valibot';

/** What was answered, if it has the shape that `schema` tells. */
export function checkResult<S extends v.GenericSchema>(
  name: string,
  schema: S,
  body: unknown,
): v.InferOutput<S> {
  const parsed = v.safeParse(schema, body);
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  const place = v.getDotPath(issue) ?? 'the body';
  throw new AtollError(
    'internal',
    `The answer to ${name} has another shape than this client knows (${place}: ${issue.message}); is the server of another version?`,
  );
}
