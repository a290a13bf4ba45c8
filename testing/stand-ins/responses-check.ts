/**
 * The checks the original makes before it answers: the key, required fields, and that every call of a tool has its
 * output. The last one catches transcripts that a crash or a resume left broken.
 */
import { isRecord } from './messages-check.ts';
import type { ApiFailure, InputItem, ResponsesRequest } from './responses-reply.ts';

export function checkKey(authorization: string | undefined, apiKey: string): ApiFailure | undefined {
  if (authorization === `Bearer ${apiKey}`) return undefined;
  const message =
    authorization === undefined
      ? "You didn't provide an API key."
      : 'Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.';
  return { status: 401, type: 'invalid_request_error', code: 'invalid_api_key', message };
}

export function checkRequest(body: unknown): ApiFailure | undefined {
  if (!isRecord(body)) return invalid('We could not parse the JSON body of your request.');
  if (typeof body.model !== 'string') return invalid("Missing required parameter: 'model'.");
  if (!Array.isArray(body.input)) return invalid("Missing required parameter: 'input'.");
  const items = body.input.filter(isRecord) as InputItem[];
  const answered = new Set(items.filter(isOutput).map(({ call_id }) => call_id));
  const open = items.find((item) => isCall(item) && !answered.has(item.call_id));
  return open && invalid(`No tool output found for function call ${open.call_id}.`);
}

/** The body, once `checkRequest` found nothing wrong with it. */
export function asRequest(body: unknown): ResponsesRequest {
  return body as ResponsesRequest;
}

export function isCall({ type }: InputItem): boolean {
  return type === 'function_call' || type === 'custom_tool_call';
}

export function isOutput({ type }: InputItem): boolean {
  return type === 'function_call_output' || type === 'custom_tool_call_output';
}

function invalid(message: string): ApiFailure {
  return { status: 400, type: 'invalid_request_error', code: null, message };
}
