import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { OpenApiDocument } from "../support/openapi-document.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const RECORDS = 5;

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start();
  const image = await fixture("static");
  for (let n = 0; n < RECORDS; n++) {
    const { id } = await server.createFunction(image, { name: `f${n}` });
    await server.createRoute(`/${n}`, id);
  }
});

afterAll(() => server[Symbol.asyncDispose]());

interface PageOf {
  readonly [name: string]: unknown;
  readonly next_cursor: string | null;
}

// D8
describe.each(["functions", "routes"])("GET /v1/%s", (name) => {
  const get = <T>(query = "") => server.api<T>("GET", `/v1/${name}${query}`);

  test("without limit and cursor is all records, whatever else the query has", async () => {
    const all = expectSuccess(await get<readonly object[]>());
    expect(all).toHaveLength(RECORDS);
    expect(expectSuccess(await get<readonly object[]>("?x=1"))).toEqual(all);
  });

  test.each([1, 2, 4, RECORDS, 500])("with limit=%i is pages that add up to all records", async (limit) => {
    const all = expectSuccess(await get<readonly object[]>());
    const found: unknown[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const page: PageOf = expectSuccess(
        await get<PageOf>(`?limit=${limit}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`),
      );
      expect(Object.keys(page)).toEqual([name, "next_cursor"]);
      const records = page[name];
      if (!Array.isArray(records)) throw new Error("no list");
      expect(records.length).toBeWithin(1, limit + 1);
      found.push(...records);
      cursor = page.next_cursor;
    }
    expect(found).toEqual([...all]);
  });

  test("with a cursor alone goes on with pages of the default size", async () => {
    const { next_cursor } = expectSuccess(await get<PageOf>("?limit=2"));
    const rest = expectSuccess(await get<PageOf>(`?cursor=${next_cursor ?? ""}`));
    expect(rest.next_cursor).toBeNull();
    expect(rest[name]).toHaveLength(RECORDS - 2);
  });

  test.each(["limit=0", "limit=501", "limit=x", "limit=", "limit=-1", "limit=1e2"])(
    "answers 400 to %s",
    async (query) => {
      expectError(await get(`?${query}`), { status: 400, reason: "invalid_request" });
    },
  );

  test.each(["x", "W10", "WyIiXQ", "WyIiLCIxIl0", "WyIiLDEsMl0", "WzEsMV0", "WyIiLDEuNV0", "WyIiLDFd=", "%00"])(
    "answers 400 to the cursor %s, which no page gave",
    async (cursor) => {
      const message = 'Invalid "cursor": send "next_cursor" of the page before as it is, or leave it out';
      expectError(await get(`?cursor=${cursor}`), { status: 400, reason: "invalid_request", message });
    },
  );

  test("has both answers in the document", async () => {
    const document = await OpenApiDocument.of(server.url);
    const operation = document.operations().find(({ method, path }) => method === "GET" && path === `/v1/${name}`);
    const { schema } = document.media(document.object(operation?.operation["responses"])["200"]) ?? {};
    for (const query of ["", "?limit=2"]) {
      expect(document.mismatch(schema, (await get(query)).body)).toBeUndefined();
    }
  });
});

test("GET /v1/functions finds functions by name, image and id, in whatever case", async () => {
  type Found = { readonly functions: readonly { readonly id: string; readonly name: string }[] };
  const found = async (search: string) => {
    const path = `/v1/functions?search=${encodeURIComponent(search)}`;
    return expectSuccess(await server.api<Found>("GET", path)).functions;
  };
  const [first] = await found("F0");
  expect(first?.name).toBe("f0");
  expect((await found((first?.id ?? "").slice(2, 30).toUpperCase())).map(({ name }) => name)).toEqual(["f0"]);
  expect(await found(await fixture("static"))).toHaveLength(RECORDS);
  expect([await found("%"), await found("no such function")]).toEqual([[], []]);
  const page = await server.api<Found>("GET", "/v1/functions?search=f&limit=2");
  expect(expectSuccess(page).functions.map(({ name }) => name)).toEqual(["f0", "f1"]);
});
