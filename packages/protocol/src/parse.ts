import * as v from 'valibot';
import { AtollError, type ErrorCode } from './errors.ts';

/**
 * Parses outside data at the edge (I11). Throws AtollError (`invalid_request` unless told otherwise) whose detail
 * names the place and what is wrong with it, for the first three faults.
 */
export function parse<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  options: { code?: ErrorCode; what?: string } = {},
): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortPipeEarly: true });
  if (result.success) return result.output;
  const what = options.what === undefined ? '' : `${options.what}: `;
  throw new AtollError(options.code ?? 'invalid_request', what + describeIssues(result.issues));
}

function describeIssues(issues: readonly v.BaseIssue<unknown>[]): string {
  const shown = issues.slice(0, 3).map(describeIssue);
  const more = issues.length > 3 ? ` (and ${issues.length - 3} more)` : '';
  return shown.join('; ') + more;
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  const path = clip(v.getDotPath(issue) ?? '');
  if (issue.type === 'strict_object' && issue.expected === 'never') return `unknown field "${path}"`;
  if (issue.expected !== null && issue.received === 'undefined') return `"${path}" is missing`;
  return path === '' ? clip(issue.message) : `"${path}": ${clip(issue.message)}`;
}

function clip(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
