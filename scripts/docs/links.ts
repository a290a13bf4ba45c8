/** Relative links in Markdown: the file must be there, and the heading where a `#` names one. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** One sentence per broken link of the given files (paths relative to `root`). */
export function brokenLinks(root: string, files: readonly string[]): string[] {
  return files.flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    return linksOf(text)
      .map((link) => faultOf(root, file, link))
      .filter((fault) => fault !== undefined);
  });
}

/** Targets of `[text](target)` outside of code. */
export function linksOf(markdown: string): string[] {
  const prose = markdown.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g)].map((match) => match[1] ?? '');
}

/** How Markdown viewers name a heading: lower case, words joined by `-`, no punctuation. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replace(/\s/g, '-');
}

function faultOf(root: string, file: string, link: string): string | undefined {
  if (/^[a-z][a-z+.-]*:/i.test(link)) return undefined;
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? join(root, file) : join(root, dirname(file), decodeURIComponent(path));
  if (!existsSync(target)) return `${file}: ${link} leads nowhere`;
  if (anchor === undefined || !target.endsWith('.md')) return undefined;
  const headings = [...readFileSync(target, 'utf8').matchAll(/^#+ (.+)$/gm)].map((match) =>
    anchorOf(match[1] ?? ''),
  );
  return headings.includes(anchor)
    ? undefined
    : `${file}: ${relative(root, target)} has no heading #${anchor}`;
}
