/** `/openapi.json` and `/docs`: the table of operations for programs, and for people. Made when first asked for. */

import type { Operations } from '@atoll/protocol/operation';
import type { FastifyInstance } from 'fastify';

export type Documented = { title: string; version: string; operations: Operations };

const DOCUMENT = '/openapi.json';
const PAGE = '/docs';
/** Both are there to be read. */
export const docPaths = [DOCUMENT, PAGE];

export function addDocs(app: FastifyInstance, { title, version, operations }: Documented): void {
  let document: Promise<string> | undefined;
  app.get(DOCUMENT, async (_request, reply) => {
    document ??= import('@atoll/protocol/openapi').then(({ openApi }) =>
      JSON.stringify(openApi({ title, version, operations })),
    );
    return reply.type('application/json').send(await document);
  });
  app.get(PAGE, async (_request, reply) => {
    reply.header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'");
    return reply.type('text/html; charset=utf-8').send(docsPage({ title, version, operations }));
  });
}

/** One plain page without scripts: what each route takes stands in the OpenAPI document it links to. */
function docsPage({ title, version, operations }: Documented): string {
  const rows = Object.entries(operations).map(
    ([name, { rest, summary, role, kind }]) =>
      `<tr><td><code>${rest.method}</code></td><td><code>${escapeHtml(rest.path)}</code></td><td>${escapeHtml(summary)}</td>` +
      `<td>${role}</td><td>${kind === 'stream' ? 'SSE or JSON' : kind}</td><td><code>${name}</code></td></tr>`,
  );
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${title} API</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1b2733; }
  table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #dde3ea; }
  code { font: 13px ui-monospace, monospace; } a { color: #0b6e99; }
</style>
<h1>${title} API <small>${escapeHtml(version)}</small></h1>
<p>Send an API key as <code>Authorization: Bearer …</code>. The whole contract, with every field:
<a href="/openapi.json">openapi.json</a>. Errors are <code>application/problem+json</code> with a <code>code</code>.</p>
<table><thead><tr><th>Method</th><th>Path</th><th>What</th><th>Role</th><th>Answer</th><th>Operation</th></tr></thead>
<tbody>${rows.join('\n')}</tbody></table></html>`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
