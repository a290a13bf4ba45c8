/** What an editor sends, as every executor takes it: text, and images as the Messages API has them. */
import type { ContentBlock } from '@agentclientprotocol/sdk';
import { AtollError } from '@atoll/protocol/errors';
import { asText, fields } from '../render/fields.ts';

export type Content = string | [{ type: 'text'; text: string }, ...{ type: 'image'; source: object }[]];

/**
 * Texts are joined as they come, with links in their places; files that are embedded follow them. A linked file is not
 * fetched: the agent's sandbox sees nothing of the editor's machine.
 */
export function contentOf(prompt: readonly ContentBlock[]): Content {
  const said: string[] = [];
  const files: string[] = [];
  const images: { type: 'image'; source: object }[] = [];
  for (const block of prompt) {
    if (block.type === 'text') said.push(block.text);
    else if (block.type === 'resource_link') said.push(`[@${block.name}](${block.uri})`);
    else if (block.type === 'image') images.push(imageOf(block.mimeType, block.data));
    else if (block.type === 'resource') {
      const { uri, mimeType, text, blob } = fields(block.resource);
      if (typeof text === 'string') files.push(fileOf(asText(uri), text));
      else if (asText(mimeType).startsWith('image/')) images.push(imageOf(asText(mimeType), asText(blob)));
      else throw refused(`a file of the type ${asText(mimeType) || 'unknown'}`);
    } else throw refused(block.type);
  }
  const text = [said.join(''), ...files].filter((part) => part !== '').join('\n\n');
  if (images.length > 0) return [{ type: 'text', text: text || 'Look at this.' }, ...images];
  if (text.trim() === '') throw new AtollError('invalid_request', 'the prompt is empty');
  return text;
}

function fileOf(uri: string, text: string): string {
  return `<file uri="${uri.replaceAll('"', '%22')}">\n${text}\n</file>`;
}

function imageOf(mediaType: string, data: string): { type: 'image'; source: object } {
  return { type: 'image', source: { type: 'base64', media_type: mediaType, data } };
}

function refused(what: string): AtollError {
  return new AtollError('invalid_request', `agents take text, files of text, and images; no ${what}`);
}

/** What was sent, as an editor shows it again. */
export function blocksOf(content: unknown): ContentBlock[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  const blocks = Array.isArray(content) ? content.map(fields) : [];
  return blocks.flatMap((block) => shownBlock(block));
}

/** Of a text or an image, in the Messages API's words or in ACP's. */
export function shownBlock({ type, text, source, data, mimeType }: Record<string, unknown>): ContentBlock[] {
  if (type === 'text') return [{ type: 'text', text: asText(text) }];
  if (type !== 'image') return [];
  const { data: bytes = data, media_type: mediaType = mimeType } = fields(source);
  if (typeof bytes !== 'string') return [];
  return [{ type: 'image', data: bytes, mimeType: asText(mediaType) }];
}
