import type { ApiClient, ApiRequest } from "./api-client.ts";

/** The most records that the API puts on one page. */
const PAGE = 500;

type Paged<T> = { readonly next_cursor: string | null } & Readonly<Record<string, readonly T[] | string | null>>;

/** Returns the first `limit` records of a list that comes in pages; `name` is that of the list in its answers. */
export async function firstOf<T>(client: ApiClient, request: ApiRequest, name: string, limit: number): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | undefined;
  while (found.length < limit) {
    const query = { ...request.query, limit: Math.min(PAGE, limit - found.length), cursor };
    const page = await client.data<Paged<T>>({ ...request, query });
    // The API promises a list under this name.
    found.push(...((page[name] ?? []) as readonly T[]));
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  return found;
}
