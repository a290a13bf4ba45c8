/**
 * The checks the original makes before it answers: key, version header, required fields, and that every tool use
 * is followed by its result. The last one catches transcripts that a crash or a resume left broken.
 */
import type { ApiFailure, ApiMessage, ContentBlock, MessagesRequest } from './messages-reply.ts';

type Headers = Record<string, string | string[] | undefined>;

export function checkKey(headers: Headers, apiKey: string): ApiFailure | undefined {
  const given = headers['x-api-key'];
  const bearer = headers.authorization;
  if (given === undefined && bearer === undefined)
    return { status: 401, type: 'authentication_error', message: 'x-api-key header is required' };
  if (given === apiKey || (given === undefined && bearer === `Bearer ${apiKey}`)) return undefined;
  const message = given === undefined ? 'Invalid bearer token' : 'invalid x-api-key';
  return { status: 401, type: 'authentication_error', message };
}

export function checkRequest(
  headers: Headers,
  body: unknown,
  needsMaxTokens: boolean,
): ApiFailure | undefined {
  if (headers['anthropic-version'] === undefined) return invalid('anthropic-version: header is required');
  if (!isRecord(body)) return invalid('The request body is not valid JSON');
  if (typeof body.model !== 'string') return invalid('model: Field required');
  if (needsMaxTokens && !Number.isInteger(body.max_tokens)) return invalid('max_tokens: Field required');
  if (!Array.isArray(body.messages)) return invalid('messages: Field required');
  if (body.messages.length === 0) return invalid('messages: at least one message is required');
  return checkRoles(body.messages) ?? checkToolResults(body.messages as ApiMessage[]);
}

/** The body, once `checkRequest` found nothing wrong with it. */
export function asRequest(body: unknown): MessagesRequest {
  return body as MessagesRequest;
}

export function blocksOf(message: ApiMessage | undefined): ContentBlock[] {
  if (!message) return [];
  return typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : message.content;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkRoles(messages: readonly unknown[]): ApiFailure | undefined {
  for (const [index, message] of messages.entries()) {
    if (!isRecord(message)) return invalid(`messages.${index}: Input should be an object`);
    // `system` in the middle of a conversation is accepted by the newest models.
    if (!['user', 'assistant', 'system'].includes(String(message.role)))
      return invalid(`messages.${index}.role: Input should be 'user' or 'assistant'`);
    if (typeof message.content !== 'string' && !Array.isArray(message.content))
      return invalid(`messages.${index}.content: Field required`);
  }
  return undefined;
}

function checkToolResults(messages: readonly ApiMessage[]): ApiFailure | undefined {
  for (const [index, message] of messages.entries()) {
    const used = blocksOf(message).flatMap((block) => (block.type === 'tool_use' ? [block.id] : []));
    if (used.length === 0) continue;
    const answered = new Set(
      blocksOf(messages[index + 1]).flatMap((block) =>
        block.type === 'tool_result' ? [block.tool_use_id] : [],
      ),
    );
    const missing = used.filter((id) => !answered.has(id));
    if (missing.length > 0)
      return invalid(
        `messages.${index}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${missing.join(', ')}.`,
      );
  }
  return undefined;
}

function invalid(message: string): ApiFailure {
  return { status: 400, type: 'invalid_request_error', message };
}
