import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { AuditPage } from "../../../lib/domain/audit.ts";
import type { Key, NewKey } from "../../../lib/domain/keys.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

type Headers = Record<string, string>;
const bearer = (token: string): Headers => ({ Authorization: `Bearer ${token}` });
const ADMIN = bearer("the-key");

let server: TestServer;
let reader: NewKey;

beforeAll(async () => {
  server = await TestServer.start({ API_KEY: "the-key", TRUSTED_PROXIES: "127.0.0.1" });
  const body = { name: "reader", scopes: ["read"] };
  reader = expectSuccess(await server.api<NewKey>("POST", "/v1/keys", body, ADMIN), 201);
});
afterAll(() => server[Symbol.asyncDispose]());

const page = async (query = "") =>
  expectSuccess(await server.api<AuditPage>("GET", `/v1/audit${query}`, undefined, ADMIN));

/** The requests with this address, oldest first: each test has its own. */
async function recorded(address: string, count: number): Promise<unknown[]> {
  let rows: unknown[] = [];
  await eventually(async () => {
    const { entries } = await page("?limit=100");
    rows = entries
      .filter((entry) => entry.address === address)
      .map(({ event, key_id, method, path, status }) => [event, key_id, method, path, status])
      .toReversed();
    return rows.length >= count;
  });
  return rows;
}

const from = (address: string): Headers => ({ "X-Forwarded-For": address });

describe("GET /v1/audit (A6)", () => {
  test("has one row for each change, whatever came of it, and the log has its line", async () => {
    const headers = { ...ADMIN, ...from("192.0.2.1") };
    const secret = { value: "the-value-of-the-secret" };
    await server.api("PUT", "/v1/secrets/NAME?of=query", secret, headers);
    await server.api("PUT", "/v1/secrets/NAME", "{", headers);
    await server.api("DELETE", "/v1/keys/none", undefined, headers);
    await server.api("POST", "/v1/apply", "functions: {}", headers);
    await server.api("POST", "/v1/invocations/none/cancel", undefined, headers);
    // Neither reads nor calls are changes.
    await server.api("GET", "/v1/secrets", undefined, headers);
    await server.api("POST", "/v1/functions/none/invoke", "{}", headers);
    await server.api("DELETE", "/v1/secrets/NAME", undefined, headers);
    expect(await recorded("192.0.2.1", 6)).toEqual([
      ["change", "server", "PUT", "/v1/secrets/NAME", 201],
      ["change", "server", "PUT", "/v1/secrets/NAME", 400],
      ["change", "server", "DELETE", "/v1/keys/none", 404],
      ["change", "server", "POST", "/v1/apply", expect.any(Number)],
      ["change", "server", "POST", "/v1/invocations/none/cancel", 404],
      ["change", "server", "DELETE", "/v1/secrets/NAME", 200],
    ]);
    const lines = server.log.filter((line) => line.includes("192.0.2.1"));
    expect(lines.filter((line) => line.includes('"info"'))).toHaveLength(6);
  });

  test("has one row for each refused key, with the id of one that is known, and no key in it", async () => {
    const dead = expectSuccess(
      await server.api<NewKey>("POST", "/v1/keys", { name: "dead", scopes: ["read"] }, ADMIN),
      201,
    );
    expectSuccess(await server.api<Key>("DELETE", `/v1/keys/${dead.id}`, undefined, ADMIN));
    const address = from("192.0.2.2");
    const send = (method: string, token: string) =>
      server.api(method, "/v1/functions", undefined, { ...bearer(token), ...address });
    await send("GET", "a-wrong-key");
    await send("GET", dead.token);
    await send("DELETE", reader.token);
    await send("POST", reader.token);
    for (let i = 0; i < 5; i++) await send("GET", "a-wrong-key");
    // No key was refused here.
    await server.api("GET", "/v1/functions", undefined, address);
    expect(await recorded("192.0.2.2", 8)).toEqual([
      ["refused_key", null, "GET", "/v1/functions", 401],
      ["refused_key", dead.id, "GET", "/v1/functions", 401],
      ["refused_key", reader.id, "POST", "/v1/functions", 403],
      ...Array.from({ length: 4 }, () => ["refused_key", null, "GET", "/v1/functions", 401]),
      ["refused_key", null, "GET", "/v1/functions", 429],
    ]);
    const everything = JSON.stringify(await page("?limit=100")) + server.log.join("");
    for (const secret of ["a-wrong-key", dead.token, reader.token, "the-key", "the-value-of-the-secret"]) {
      expect(everything).not.toContain(secret);
    }
  });

  test("has one row for each call that its key does not permit", async () => {
    const image = await fixture("static");
    const make = async (name: string) =>
      expectSuccess(await server.api<{ id: string }>("POST", "/v1/functions", { image, name }, ADMIN), 201).id;
    const [mine, other] = [await make("mine"), await make("other")];
    const route = { path: "/other", function_id: other, auth: "key" };
    expectSuccess(await server.api("POST", "/v1/routes", route, ADMIN));
    const body = { name: "one", scopes: ["invoke"], function_id: mine };
    const one = expectSuccess(await server.api<NewKey>("POST", "/v1/keys", body, ADMIN), 201);
    const headers = { ...bearer(one.token), ...from("192.0.2.3") };
    const invoked = [`/v1/functions/${other}/invoke`, "/v1/functions/other/invoke", "/r/other"];
    const paths = [...invoked, "/v1/functions/mine/invoke?async=true&priority=100"];
    for (const path of paths) expect((await server.api("POST", path, "[1]", headers)).status).toBe(403);
    expect(await recorded("192.0.2.3", 4)).toEqual(
      paths.map((path) => ["refused_key", one.id, "POST", path.replace(/\?.*/, ""), 403]),
    );
  });

  test("needs the scope admin, comes in pages and can be filtered", async () => {
    const reply = await server.api("GET", "/v1/audit", undefined, bearer(reader.token));
    expectError(reply, { status: 403, reason: "forbidden" });
    const all = (await page("?limit=100")).entries.map(({ id }) => id);
    const paged: number[] = [];
    for (let cursor: string | null = ""; cursor !== null;) {
      const { entries, next_cursor } = await page(`?limit=3${cursor === "" ? "" : `&cursor=${cursor}`}`);
      paged.push(...entries.map(({ id }) => id));
      cursor = next_cursor;
    }
    expect(paged.slice(-all.length)).toEqual(all.slice(-paged.length));
    expect(new Set((await page("?event=refused_key")).entries.map(({ event }) => event))).toEqual(
      new Set(["refused_key"]),
    );
    expect((await page(`?key_id=${reader.id}`)).entries.length).toBeGreaterThan(0);
    for (const query of ["?limit=0", "?limit=x", "?cursor=x", "?cursor=0", "?event=other", "?who=1"]) {
      const wrong = await server.api("GET", `/v1/audit${query}`, undefined, ADMIN);
      expectError(wrong, { status: 400, reason: "invalid_request" });
    }
  });
});
