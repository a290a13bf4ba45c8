/** Every page of a list, one after the other. */
export async function* allPages<Page extends { nextCursor: string | null }>(
  fetch: (from: { cursor?: string }) => Promise<Page>,
): AsyncGenerator<Page> {
  let from: { cursor?: string } | undefined = {};
  while (from) {
    const page: Page = await fetch(from);
    yield page;
    from = page.nextCursor === null ? undefined : { cursor: page.nextCursor };
  }
}
