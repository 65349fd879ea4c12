import { describe, expect, test } from "bun:test";
import { readdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { rawRequest } from "../support/raw-request.ts";
import { expectError } from "../support/replies.ts";

/** A request to each kind of endpoint that needs a key. */
const GUARDED = [
  ["GET", "/v1/functions"],
  ["POST", "/v1/functions"],
  ["GET", "/v1/functions/x"],
  ["PATCH", "/v1/functions/x"],
  ["DELETE", "/v1/functions/x"],
  ["POST", "/v1/functions/x/pull"],
  ["POST", "/v1/functions/x/invoke"],
  ["GET", "/v1/routes"],
  ["POST", "/v1/routes"],
  ["GET", "/v1/routes/x"],
  ["PATCH", "/v1/routes/x"],
  ["DELETE", "/v1/routes/x"],
  ["GET", "/v1/invocations"],
  ["GET", "/v1/invocations/x"],
  ["GET", "/v1/invocations/x/logs"],
  ["GET", "/metrics"],
  ["GET", "/swagger"],
  ["GET", "/swagger/json"],
  ["GET", "/swagger/full.json"],
  ["GET", "/swagger/swagger-ui.js"],
  ["GET", "/swagger/swagger-ui.css"],
  ["GET", "/swagger/start.js"],
  ["GET", "/docs"],
  ["GET", "/docs/functions"],
  ["GET", "/docs/nowhere"],
  ["GET", "/docs/manual.css"],
  ["GET", "/docs/search-box.js"],
  ["GET", "/docs/search.json"],
] as const;

const bearer = (key: string) => ({ Authorization: `Bearer ${key}` });

/** The address of this machine for others. A connection to it does not come from a loopback address. */
function outerUrl({ url }: TestServer): string {
  const outer = Object.values(networkInterfaces())
    .flat()
    .find((one) => one?.family === "IPv4" && !one.internal);
  return `http://${outer?.address}:${new URL(url).port}`;
}

async function statusOf(url: string, headers: Record<string, string> = {}): Promise<number> {
  const response = await fetch(url, { headers });
  await response.arrayBuffer();
  return response.status;
}

describe("with API_KEY", () => {
  test("every guarded endpoint answers 401 without the key, even to HEAD, before it reads a body", async () => {
    await using server = await TestServer.start({ API_KEY: "the-key" });
    for (const [method, path] of GUARDED) {
      const body = method === "GET" || method === "DELETE" ? undefined : "{";
      const reply = await server.api(method, path, body);
      expectError(reply, { status: 401, reason: "unauthorized" });
      expect(reply.headers.get("www-authenticate")).toBe('Bearer realm="slipway"');
      if (method === "GET") expect((await rawRequest(server.url, `HEAD ${path} HTTP/1.1`)).status).toBe(401);
    }
    expect((await server.api("GET", "/v1/functions", undefined, bearer("the-key"))).status).toBe(200);
    expect(await statusOf(`${server.url}/swagger`, bearer("the-key"))).toBe(200);
  });

  test("wrong keys are slowed down after five, and the right one still passes", async () => {
    await using server = await TestServer.start({ API_KEY: "the-key" });
    const send = (key: string) => server.api("POST", "/v1/functions", "{", bearer(key));
    for (let i = 0; i < 5; i++) expectError(await send(`wrong-${i}`), { status: 401, reason: "unauthorized" });
    const refused = await send("wrong");
    const wait = Number(refused.headers.get("retry-after"));
    expectError(refused, {
      status: 429,
      reason: "too_many_requests",
      message: `Too many wrong API keys came from your address: try again in ${wait} s; a right key is accepted at once`,
    });
    // 24 s and 36 s after the first one, and less on a machine that has taken its time since.
    expect(wait).toBeWithin(13, 25);
    expect(Number((await send("wrong")).headers.get("retry-after"))).toBeWithin(wait + 1, 37);
    expect((await server.api("GET", "/v1/functions", undefined, bearer("the-key"))).status).toBe(200);
    // A request without a key is not a guess.
    expect(await statusOf(`${server.url}/v1/functions`)).toBe(401);
  });

  test("/healthz, /readyz and /r do not need it", async () => {
    await using server = await TestServer.start({ API_KEY: "the-key" });
    const fn = await server.api<{ id: string }>(
      "POST",
      "/v1/functions",
      { image: await fixture("static") },
      bearer("the-key"),
    );
    await server.api("POST", "/v1/routes", { path: "/open", function_id: fn.body.data.id }, bearer("the-key"));
    const elsewhere = { Host: "evil.example", Origin: "https://evil.example", "Sec-Fetch-Site": "cross-site" };
    expect(await statusOf(`${server.url}/healthz`, elsewhere)).toBe(200);
    expect(await statusOf(`${server.url}/readyz`, elsewhere)).toBe(200);
    const call = await fetch(`${server.url}/r/open`, { method: "POST", body: "[1]", headers: elsewhere });
    expect([call.status, await call.text()]).toEqual([200, "[1]"]);
  });

  test("AUTH=off requires none, but refuses a wrong one", async () => {
    await using server = await TestServer.start({ API_KEY: "the-key", AUTH: "off" });
    expect(await statusOf(`${server.url}/v1/functions`)).toBe(200);
    expect(await statusOf(`${server.url}/v1/functions`, bearer("wrong"))).toBe(401);
    expect(await statusOf(`${server.url}/v1/functions`, { ...bearer("the-key"), Host: "evil.example" })).toBe(200);
  });
});

describe("without API_KEY", () => {
  test("on loopback the server makes no key and requires none", async () => {
    await using server = await TestServer.start();
    expect(server.newKey).toBeUndefined();
    expect(await statusOf(`${server.url}/v1/functions`)).toBe(200);
    expectError(await server.api("GET", "/v1/functions", undefined, bearer("any")), {
      status: 401,
      reason: "unauthorized",
      message: "This server has no API key: send none, or one that POST /v1/keys makes",
    });
  });

  test("on loopback a request must have a Host of ours and not come from another site", async () => {
    await using server = await TestServer.start({ ALLOWED_HOSTS: "slipway.example" });
    const get = (headers: Record<string, string>) => server.api("GET", "/v1/functions", undefined, headers);
    expectError(await get({ Host: "evil.example" }), {
      status: 421,
      reason: "misdirected_request",
      message:
        'This server does not answer to the name "evil.example" without an API key: use localhost, or add the name to ALLOWED_HOSTS',
    });
    expect((await get({ Host: "slipway.example" })).status).toBe(200);
    expectError(await get({ "Sec-Fetch-Site": "same-site" }), { status: 403, reason: "forbidden" });
    expectError(await get({ Origin: "http://localhost:3000" }), { status: 403, reason: "forbidden" });
    expect((await get({ Origin: server.url, "Sec-Fetch-Site": "same-origin" })).status).toBe(200);
  });

  test("on loopback a request that a proxy passes on needs a key, but not to call a route", async () => {
    await using server = await TestServer.start();
    const fn = await server.createFunction(await fixture("static"));
    await server.createRoute("/open", fn.id);
    const passedOn = { "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https" };
    for (const [method, path] of GUARDED) {
      expectError(await server.api(method, path, method === "POST" ? "{" : undefined, passedOn), {
        status: 403,
        reason: "forbidden",
        message:
          'This request came through a proxy (it has the header "x-forwarded-for"), so it needs an API key: set AUTH=on and ' +
          "send the key, or point the proxy at PUBLIC_PORT, which has the routes of functions only",
      });
    }
    const call = await fetch(`${server.url}/r/open`, { method: "POST", body: "[1]", headers: passedOn });
    expect([call.status, await call.text()]).toEqual([200, "[1]"]);
    expect(await statusOf(`${server.url}/healthz`, passedOn)).toBe(200);
    const { body } = await server.api<{ token: string }>("POST", "/v1/keys", { name: "proxy", scopes: ["read"] });
    expect(await statusOf(`${server.url}/v1/functions`, { ...passedOn, ...bearer(body.data.token) })).toBe(200);
  });

  test("AUTH=on makes a key even on loopback", async () => {
    await using server = await TestServer.start({ AUTH: "on" });
    expect(await statusOf(`${server.url}/v1/functions`)).toBe(401);
    expect(await statusOf(`${server.url}/v1/functions`, bearer(server.newKey ?? ""))).toBe(200);
  });

  test("on 0.0.0.0 a key is made once, stored as a hash, and valid after a restart", async () => {
    const directory = await mkdtemp(join(tmpdir(), "slipway-key-"));
    const variables = { HOST: "0.0.0.0", DATA_PATH: directory };
    let key = "";
    {
      await using first = await TestServer.start(variables);
      key = first.newKey ?? "";
      expect(key).toMatch(/^slipway_[\w-]{43}$/);
      expect(await statusOf(`${first.url}/v1/functions`)).toBe(401);
      expect(await statusOf(`${outerUrl(first)}/v1/functions`, bearer(key))).toBe(200);
      expect(first.log.join("")).not.toContain(key);
      for (const file of await readdir(directory)) {
        expect(Buffer.from(await Bun.file(join(directory, file)).bytes()).includes(key)).toBe(false);
      }
    }
    {
      await using second = await TestServer.start(variables);
      expect(second.newKey).toBeUndefined();
      expect(await statusOf(`${second.url}/v1/functions`, bearer(key))).toBe(200);
      expect(await statusOf(`${second.url}/v1/functions`, bearer(`${key}x`))).toBe(401);
    }
    {
      // A given key replaces the one that was made, which stays in the database.
      await using third = await TestServer.start({ ...variables, API_KEY: "given" });
      expect(await statusOf(`${third.url}/v1/functions`, bearer(key))).toBe(401);
      expect(await statusOf(`${third.url}/v1/functions`, bearer("given"))).toBe(200);
    }
    await rm(directory, { recursive: true });
  });

  test("API_KEY_FILE holds the key", async () => {
    const directory = await mkdtemp(join(tmpdir(), "slipway-key-"));
    await writeFile(join(directory, "key"), "from-a-file\n");
    await using server = await TestServer.start({ API_KEY_FILE: join(directory, "key") });
    expect(await statusOf(`${server.url}/v1/functions`)).toBe(401);
    expect(await statusOf(`${server.url}/v1/functions`, bearer("from-a-file"))).toBe(200);
    await rm(directory, { recursive: true });
  });
});

describe("with AUTH=off on 0.0.0.0", () => {
  test("only this machine may use the API", async () => {
    await using server = await TestServer.start({ HOST: "0.0.0.0", AUTH: "off" });
    expect(server.newKey).toBeUndefined();
    const local = `http://127.0.0.1:${new URL(server.url).port}`;
    expect(await statusOf(`${local}/v1/functions`)).toBe(200);
    const outer = await fetch(`${outerUrl(server)}/v1/functions`, { headers: { Host: "localhost" } });
    expect(outer.status).toBe(401);
    expect(await outer.text()).toContain("With AUTH=off only this machine may do this");
    expect(await statusOf(`${outerUrl(server)}/healthz`)).toBe(200);
  });

  test("a function that forges its Host may call routes, and nothing else", async () => {
    await using server = await TestServer.start({ HOST: "0.0.0.0", AUTH: "off", ALLOWED_HOSTS: "0.0.0.0" });
    const fn = await server.createFunction(await fixture("static"), { network: "bridge" });
    await server.createRoute("/self", fn.id);
    const port = Number(new URL(server.url).port);
    const ask = async (request: object) => {
      const response = await server.invoke(fn, { do: "fetch", ip: "gateway", port, host: "localhost", ...request });
      // The answer of the chaos image's `fetch`.
      return (await response.json()) as { errno: string; status: number; body: string };
    };
    const admin = await ask({ path: "/v1/functions" });
    const forged = await ask({
      path: "/v1/functions",
      headers: `X-Forwarded-For: 127.0.0.1\r\nOrigin: http://localhost\r\n`,
    });
    const route = await ask({ path: "/r/self", method: "POST", body: "[1]" });
    if (await hostHasGateway()) {
      expect([admin.status, forged.status, route.status]).toEqual([401, 401, 200]);
      expect(admin.body).toContain('"reason":"unauthorized"');
    } else {
      // The engine's networks are not on this machine: a function cannot reach this server.
      expect([admin.status, forged.status, route.status]).toEqual([0, 0, 0]);
    }
  });
});

/** Returns whether the gateway of the engine's bridge is an address of this machine. */
async function hostHasGateway(): Promise<boolean> {
  const { client } = await acquireEngine();
  // The engine's own format.
  const bridge = (await client.json("GET", "/networks/bridge")) as {
    IPAM: { Config: readonly { Gateway?: string }[] };
  };
  return bridge.IPAM.Config.some(({ Gateway }) => Gateway !== undefined && isOurs(Gateway));
}

/** Returns whether an address is this machine's: then a server can have it. A bridge without containers is not listed. */
function isOurs(address: string): boolean {
  try {
    Bun.listen({ hostname: address, port: 0, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}
