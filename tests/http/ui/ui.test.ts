import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { bundleFrontEnd } from "../../../.ci/front-end.ts";
import { TestServer } from "../../support/server.ts";
import { expectError } from "../support/replies.ts";

/** No container is started here, so an engine that is away will do. */
const NO_ENGINE = { DOCKER_HOST: "unix:///nonexistent/docker.sock" };
const KEY = "the-key-of-this-server-which-is-long";

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start({ ...NO_ENGINE, API_KEY: KEY, PUBLIC_PORT: "0" });
});

afterAll(() => server[Symbol.asyncDispose]());

/** The headers of a request that a page of ours makes. */
const own = (cookie = ""): Record<string, string> => ({
  Origin: server.url,
  "Sec-Fetch-Site": "same-origin",
  "X-Slipway-Page": "1",
  ...(cookie !== "" && { Cookie: cookie }),
});

async function logIn(key: string): Promise<string> {
  const reply = await server.api("POST", "/ui/login", { key }, own());
  expect(reply.status).toBe(200);
  const [cookie = ""] = (reply.headers.get("set-cookie") ?? "").split(";");
  return cookie;
}

async function makeKey(scopes: readonly string[]): Promise<{ id: string; token: string }> {
  const headers = { Authorization: `Bearer ${KEY}` };
  return (await server.api<{ id: string; token: string }>("POST", "/v1/keys", { name: "ada", scopes }, headers)).body
    .data;
}

describe("GET /ui", () => {
  test("is the same page for all paths, without a key, and lets a browser load nothing from elsewhere", async () => {
    const page = await fetch(`${server.url}/ui`);
    expect(page.status).toBe(200);
    expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
    const policy = page.headers.get("content-security-policy") ?? "";
    expect(policy).toStartWith("default-src 'self'; ");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain("unsafe");
    expect(page.headers.get("x-content-type-options")).toBe("nosniff");
    expect(page.headers.get("referrer-policy")).toBe("no-referrer");
    const html = await page.text();
    expect(html).not.toMatch(/<script(?![^>]*src=)|<style|style=|https?:/);
    for (const path of ["/ui/", "/ui/functions/x", "/ui/login"]) {
      expect(await (await fetch(server.url + path)).text()).toBe(html);
    }
  });

  test("its files are kept for good, and the page is asked for again", async () => {
    const page = await fetch(`${server.url}/ui`);
    const tag = page.headers.get("etag") ?? "";
    expect(page.headers.get("cache-control")).toBe("no-cache");
    expect((await fetch(`${server.url}/ui`, { headers: { "If-None-Match": `W/${tag}` } })).status).toBe(304);
    const files = [...(await page.text()).matchAll(/"(\/ui\/assets\/[^"]+)"/g)].map(([, file]) => file ?? "");
    expect(files.map((file) => file.replace(/-[0-9a-f]{16}/, ""))).toEqual([
      "/ui/assets/icon.svg",
      "/ui/assets/style.css",
      "/ui/assets/main.js",
    ]);
    for (const file of files) {
      const answer = await fetch(server.url + file);
      expect([answer.status, answer.headers.get("cache-control")]).toEqual([
        200,
        "public, max-age=31536000, immutable",
      ]);
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      expect((await answer.arrayBuffer()).byteLength).toBeGreaterThan(100);
      const known = { "If-None-Match": answer.headers.get("etag") ?? "" };
      expect((await fetch(server.url + file, { headers: known })).status).toBe(304);
    }
    expectError(await server.api("GET", "/ui/assets/main-0.js"), { status: 404, reason: "not_found" });
  });

  test("takes a tenth of a MiB of the binary, without the schemas of which its forms are made", async () => {
    const { bundles } = await bundleFrontEnd();
    // As the binary has them.
    const sizes = [...bundles.values()].map((bundle) => Bun.zstdCompressSync(bundle, { level: 22 }).length);
    expect(sizes).toHaveLength(2);
    expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(1024 ** 2 / 10);
    const script = [...bundles.values()].map((bundle) => Buffer.from(bundle).toString()).join("");
    expect(script).toContain("memory_bytes");
    expect(script).not.toContain("TypeBox");
  });

  test("is not on the public listener", async () => {
    for (const path of ["/ui", "/ui/", "/ui/session", "/ui/assets/main.js"]) {
      expect((await fetch(server.publicUrl + path)).status).toBe(404);
    }
    expect((await fetch(`${server.publicUrl}/ui/login`, { method: "POST", body: `{"key": "${KEY}"}` })).status).toBe(
      404,
    );
  });
});

describe("POST /ui/login", () => {
  test("opens /v1, /swagger and /docs for what the key may do, and the audit names the key", async () => {
    const { id, token } = await makeKey(["read"]);
    const reply = await server.api("POST", "/ui/login", { key: token }, own());
    expect(reply.body.data).toMatchObject({ key: { id, name: "ada" }, scopes: ["read"], function_id: null });
    expect(reply.headers.get("set-cookie")).toMatch(
      /^slipway-session-\d+=[\w.-]+; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/,
    );
    expect(reply.headers.get("cache-control")).toBe("no-store");
    const [cookie = ""] = (reply.headers.get("set-cookie") ?? "").split(";");
    for (const path of ["/v1/functions", "/swagger", "/docs", "/ui/session", "/metrics"]) {
      expect((await fetch(server.url + path, { headers: { Cookie: cookie } })).status).toBe(200);
    }
    expectError(await server.api("PUT", "/v1/secrets/x", { value: "1" }, own(cookie)), {
      status: 403,
      reason: "forbidden",
    });
    expectError(await server.api("GET", "/v1/keys", undefined, own(cookie)), { status: 403, reason: "forbidden" });
    const headers = { Authorization: `Bearer ${KEY}` };
    type Entry = { event: string; method: string; path: string; status: number };
    const audit = await server.api<{ entries: Entry[] }>("GET", `/v1/audit?key_id=${id}`, undefined, headers);
    expect(audit.body.data.entries.map(({ event, method, path, status }) => [event, method, path, status])).toEqual([
      ["refused_key", "GET", "/v1/keys", 403],
      ["refused_key", "PUT", "/v1/secrets/x", 403],
      ["change", "POST", "/ui/login", 200],
    ]);
  });

  test("what is changed with it is recorded as changed with the key, and must come from a page of ours", async () => {
    const { id, token } = await makeKey(["deploy"]);
    const cookie = await logIn(token);
    const put = (headers: Record<string, string>) => server.api("PUT", "/v1/secrets/by-page", { value: "1" }, headers);
    expect((await put(own(cookie))).status).toBe(201);
    for (const other of [
      { "Sec-Fetch-Site": "same-site" },
      { "Sec-Fetch-Site": "cross-site", Origin: "https://evil.example" },
      { Origin: "http://localhost:1" },
    ]) {
      expectError(await put({ ...own(cookie), ...other }), { status: 403, reason: "forbidden" });
    }
    const { "X-Slipway-Page": _, ...bare } = own(cookie);
    expectError(await put(bare), { status: 403, reason: "forbidden" });
    const headers = { Authorization: `Bearer ${KEY}` };
    const audit = await server.api<{ entries: { method: string; path: string }[] }>(
      "GET",
      `/v1/audit?key_id=${id}&event=change`,
      undefined,
      headers,
    );
    expect(audit.body.data.entries[0]).toMatchObject({ method: "PUT", path: "/v1/secrets/by-page", status: 201 });
  });

  test("is refused to other sites, which could log their visitors in as somebody else", async () => {
    for (const headers of [
      {},
      { "X-Slipway-Page": "1" },
      { ...own(), Origin: "https://evil.example" },
      { ...own(), "Sec-Fetch-Site": "cross-site" },
      { ...own(), "Sec-Fetch-Site": "same-site" },
    ]) {
      const reply = await server.api("POST", "/ui/login", { key: KEY }, headers);
      expectError(reply, { status: 403, reason: "forbidden" });
      expect(reply.headers.get("set-cookie")).toBeNull();
    }
  });

  test("a wrong key is a guess, and a right one is accepted at once", async () => {
    const wrong = () => server.api("POST", "/ui/login", { key: "wrong" }, own());
    let reply = await wrong();
    expectError(reply, { status: 401, reason: "unauthorized" });
    for (let i = 0; i < 6; i++) reply = await wrong();
    expectError(reply, { status: 429, reason: "too_many_requests" });
    // The same address, without a page.
    expectError(await server.api("GET", "/v1/functions", undefined, { "X-API-Key": "wrong" }), {
      status: 429,
      reason: "too_many_requests",
    });
    expect(await logIn(KEY)).toContain("server.");
    expectError(await server.api("POST", "/ui/login", { key: "" }, own()), { status: 400, reason: "invalid_request" });
    expectError(await server.api("POST", "/ui/login", "[", own()), { status: 400, reason: "invalid_request" });
  });

  test("ends with a logout, and with the key", async () => {
    const { id, token } = await makeKey(["read"]);
    const [first, second] = [await logIn(token), await logIn(token)];
    const status = async (cookie: string) => (await server.api("GET", "/ui/session", undefined, own(cookie))).status;
    expect([await status(first), await status(second)]).toEqual([200, 200]);
    expectError(await server.api("POST", "/ui/logout", undefined, { Cookie: first }), {
      status: 403,
      reason: "forbidden",
    });
    const out = await server.api("POST", "/ui/logout", undefined, own(first));
    expect(out.headers.get("set-cookie")).toMatch(
      /^slipway-session-\d+=; Path=\/; Max-Age=0; HttpOnly; SameSite=Strict$/,
    );
    expect([await status(first), await status(second)]).toEqual([401, 200]);
    await server.api("DELETE", `/v1/keys/${id}`, undefined, { Authorization: `Bearer ${KEY}` });
    expect(await status(second)).toBe(401);
  });
});

test("without keys on loopback there is no login: the page's reader is an administrator, but no other site's page is", async () => {
  await using open = await TestServer.start(NO_ENGINE);
  const session = await open.api("GET", "/ui/session", undefined, { "Sec-Fetch-Site": "same-origin" });
  expect(session.body.data).toMatchObject({ key: null, scopes: ["admin"], function_id: null });
  expectError(await open.api("GET", "/ui/session", undefined, { "Sec-Fetch-Site": "same-site" }), {
    status: 403,
    reason: "forbidden",
  });
  expect((await fetch(`${open.url}/ui`, { headers: { Host: "evil.example" } })).status).toBe(200);
  expectError(await open.api("GET", "/ui/session", undefined, { Host: "evil.example" }), {
    status: 421,
    reason: "misdirected_request",
  });
});
