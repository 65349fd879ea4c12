import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ensureProgram, run } from "../../.ci/packages.ts";
import { parseReply } from "../http/support/raw-request.ts";
import { fixture } from "../support/images.ts";
import { TestServer } from "../support/server.ts";
import { blocksOf, readPage } from "./support/markdown-blocks.ts";
import { Proxy, SITE } from "./support/proxy.ts";
import type { ProxyName } from "./support/proxy-programs.ts";

const NAMES: readonly ProxyName[] = ["nginx", "haproxy", "caddy"];
/** Requests of each attack. */
const ATTACKS = 150;
/** Unpacking the proxies, and starting them on a busy machine. */
const SETUP_TIMEOUT_MS = 240_000;

const MIB = 1024 ** 2;

/** A server without a key, whose administrator is everyone on this machine, the proxies included. */
let server: TestServer;
const configurations = new Map<string, string[]>();
const pointed = new Map<string, Proxy>();

beforeAll(async () => {
  const page = "lib/docs/reverse-proxy.md";
  for (const { directive, text } of blocksOf(page, await readPage(page))) {
    if (directive?.name !== "proxy") continue;
    configurations.set(directive.value, [...(configurations.get(directive.value) ?? []), text]);
  }
  await ensureProgram("curl", ["curl"]);
  server = await TestServer.start({ PUBLIC_PORT: "0", TRUSTED_PROXIES: "127.0.0.1" });
  const echo = await server.createFunction(await fixture("static"));
  const see = await server.createFunction(await fixture("shell"), {
    entrypoint: ["sh", "-c"],
    command: ["cat $CONTEXT_PATH/request.meta.json > $CONTEXT_PATH/response.json"],
  });
  const greet = `Bun.serve({ port: process.env.PORT,
    fetch: (request, server) => server.upgrade(request) ? undefined : new Response(null, { status: 426 }),
    websocket: { open: (socket) => { socket.send("hello"); socket.close(); }, message() {} } })`;
  const socket = await server.createFunction(await fixture("bun"), { contract: "http", command: ["bun", "-e", greet] });
  for (const [path, fn] of [
    ["/echo", echo],
    ["/see/*", see],
    ["/socket", socket],
  ] as const) {
    await server.api("POST", "/v1/routes", { path, function_id: fn.id, methods: ["GET", "POST", "PUT"] });
  }
  for (const name of NAMES) {
    for (const [port, url] of [
      ["public", server.publicUrl],
      ["api", server.url],
    ] as const) {
      pointed.set(`${name} ${port}`, await Proxy.start(name, configurationOf(name), Number(new URL(url).port)));
    }
  }
}, SETUP_TIMEOUT_MS);

afterAll(async () => {
  for (const proxy of pointed.values()) await proxy[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

function configurationOf(name: string): string {
  return configurations.get(name)?.join("\n") ?? "";
}

function proxyAt(name: ProxyName, port: "public" | "api"): Proxy {
  const proxy = pointed.get(`${name} ${port}`);
  if (proxy === undefined) throw new Error(`No ${name} points at ${port}`);
  return proxy;
}

/** Sends a request through a proxy from the address 127.0.0.2. */
async function through({ port }: Proxy, path: string, ...args: readonly string[]) {
  const options = "--silent --show-error --insecure --path-as-is --include --http1.1 --interface 127.0.0.2".split(" ");
  const site = ["--resolve", `${SITE}:${port}:127.0.0.1`, "--header", `Host: ${SITE}`, "--header", "Expect:"];
  const { stdout, stderr } = await run(["curl", ...options, ...site, ...args, `https://${SITE}:${port}${path}`]);
  return parseReply(stdout === "" ? stderr : stdout);
}

test("the page has configurations for these proxies, and no other", () => {
  expect([...configurations.keys()].toSorted()).toEqual([...NAMES, "traefik"].toSorted());
});

describe.each(NAMES)("%s", (name) => {
  test("passes on the path and the query as they came, the name of the site and the address of the client", async () => {
    const sent = "/r/see/A%2f%2F~/x%20y//z?b=%2e%2E&c=//d&e=%5c";
    const lies = ["X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: gopher", "Forwarded: for=203.0.113.8"];
    const { status, text } = await through(proxyAt(name, "public"), sent, ...lies.flatMap((one) => ["--header", one]));
    expect(status).toBe(200);
    const meta = JSON.parse(text);
    expect(meta).toMatchObject({
      url: sent,
      path_rest: "A//~/x y//z",
      client_address: "127.0.0.2",
      headers: { host: SITE, "x-forwarded-for": "127.0.0.2", "x-forwarded-proto": "https" },
    });
    expect(meta.headers).not.toHaveProperty("forwarded");
  });

  test("passes on bodies of any size, with a length and in chunks, and their answers", async () => {
    const big = JSON.stringify("x".repeat(MIB));
    await using file = await temporaryFile(big);
    for (const chunked of [false, true]) {
      const coding = chunked ? ["--header", "Transfer-Encoding: chunked"] : [];
      const body = ["--data-binary", `@${file.path}`, ...coding];
      const { status, text, headers } = await through(proxyAt(name, "public"), "/r/echo", ...body);
      expect([status, text.length, text === big]).toEqual([200, big.length, true]);
      expect(headers.get("content-security-policy")).toBe("sandbox");
    }
    await using tooBig = await temporaryFile("x".repeat(6 * MIB + 1));
    const refused = await through(proxyAt(name, "public"), "/r/echo", "--data-binary", `@${tooBig.path}`);
    expect(refused.status).toBe(413);
  });

  test("passes on WebSockets, and no other upgrade", async () => {
    const key = Buffer.from("0123456789abcdef").toString("base64");
    const ask = (protocol: string, last: string) => {
      const upgrade = `Connection: Upgrade\r\nUpgrade: ${protocol}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}`;
      return proxyAt(name, "public").exchange(`GET /r/socket HTTP/1.1\r\nHost: ${SITE}\r\n${upgrade}\r\n\r\n`, last);
    };
    const answer = await ask("websocket", "hello");
    expect(answer).toStartWith("HTTP/1.1 101 ");
    expect(answer).toContain("hello");
    expect(await ask("h2c", "\r\n\r\n")).toMatch(/^HTTP\/1\.1 (?!101)/);
  });

  test("has nothing but the routes of functions", async () => {
    for (const path of ["/", "/v1/functions", "/metrics", "/swagger", "/docs", "/readyz", "/rx"]) {
      const { status, headers } = await through(proxyAt(name, "api"), path);
      expect([path, status, headers.has("x-request-id")]).toEqual([path, 404, false]);
    }
  });

  test.each(["public", "api"] as const)(
    "lets nothing through but calls of functions, pointed at the %s port",
    async (port) => {
      const proxy = proxyAt(name, port);
      await fc.assert(
        fc.asyncProperty(requests(), async (request) => {
          const { status, headers, text } = parseReply(await proxy.exchange(request));
          // The proxy's own answers have no request id. All that /r answers has the other header, which /v1 never has.
          const called = !headers.has("x-request-id") || headers.get("content-security-policy") === "sandbox";
          expect(called || (status === 404 && text.includes("No such path"))).toBe(true);
        }),
        { numRuns: ATTACKS },
      );
    },
  );

  test.each([
    "/r/..\\v1/functions",
    "/r/.%2e\\v1/functions",
    "/r/%2e%2e/v1/functions",
    "/r/../v1/functions",
    "/r/%2e%2e%2fv1/functions",
    "/r/a/b/c/v1/functions",
    "/r/echo#/../../v1/functions",
  ])("GET %s never shows the functions of a server without a key", async (path) => {
    for (const host of [SITE, "localhost", "a@b.localhost", `${SITE}@localhost`, "127.0.0.1:9999"]) {
      for (const origin of ["", `https://${SITE}`, "http://localhost:9999"]) {
        const reply = await proxyAt(name, "api").exchange(
          `GET ${origin}${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
        );
        const { status, headers } = parseReply(reply);
        expect(headers.has("x-request-id") && status < 300).toBe(false);
      }
    }
  });
});

/** Requests that try to get from `/r/` to elsewhere. */
function requests(): fc.Arbitrary<string> {
  const dots = fc.constantFrom("..", ".", "%2e", "%2E%2e", ".%2e", "%252e", "%c0%ae");
  const separators = fc.constantFrom("/", "/", "//", "\\", "%5c", "%2f", "%255c", "%", "%00", "#", "?", ";", ":", "@");
  const words = fc.constantFrom("v1", "functions", "keys", "metrics", "docs", "swagger", "json", "r", "a", "ä");
  const pieces = fc.array(fc.oneof(dots, separators, words), { maxLength: 12 });
  const ends = fc.constantFrom("", "/v1/functions", "\\v1\\functions", "/metrics", "\\docs", "/swagger/json");
  const begins = fc.constantFrom("/r/", "/r/", "/r/", "/r\\", "/r", "/R/", "//r/", "/./r/", "/v1/../r/", "/%72/");
  const origins = fc.constantFrom(
    "",
    "",
    "",
    `https://${SITE}`,
    `http://${SITE}`,
    "http://localhost:9999",
    "HTTPS://x",
  );
  const right = [SITE, SITE.toUpperCase(), `${SITE}:443`, "localhost", "127.0.0.1:9999", "[::1]", ""];
  const wrong = ["a@localhost", `${SITE}@localhost`, "a@b.localhost", `${SITE}/v1`, `${SITE}\\v1`];
  const hosts = fc.oneof(fc.constant(SITE), fc.constantFrom(...right, ...wrong));
  const methods = fc.constantFrom("GET", "GET", "POST", "DELETE", "OPTIONS");
  return fc
    .tuple(methods, origins, begins, pieces, ends, hosts)
    .map(
      ([method, origin, begin, middle, end, host]) =>
        `${method} ${origin}${begin}${middle.join("")}${end} HTTP/1.1\r\nHost: ${host}\r\n` +
        "Connection: close\r\nContent-Length: 0\r\n\r\n",
    );
}

describe("traefik", () => {
  test("has routers whose parts exist, and points at the public listener", () => {
    const documents = (configurations.get("traefik") ?? []).map((text): unknown => Bun.YAML.parse(text));
    expect(documents).toMatchObject([
      {
        entryPoints: { websecure: { address: ":443", transport: { respondingTimeouts: { readTimeout: "15m" } } } },
        certificatesResolvers: { letsencrypt: { acme: { tlsChallenge: {} } } },
        providers: { file: { filename: "/etc/traefik/slipway.yaml" } },
      },
      {
        http: {
          routers: {
            functions: {
              entryPoints: ["websecure"],
              rule: `Host(\`${SITE}\`) && PathPrefix(\`/r/\`)`,
              middlewares: ["plain"],
              service: "slipway",
              tls: { certResolver: "letsencrypt" },
            },
          },
          middlewares: { plain: { headers: { customRequestHeaders: { Forwarded: "" } } } },
          services: { slipway: { loadBalancer: { servers: [{ url: "http://127.0.0.1:9998" }] } } },
        },
      },
    ]);
  });
});

async function temporaryFile(text: string) {
  const path = `${server.dataPath}/${crypto.randomUUID()}`;
  await Bun.write(path, text);
  return { path, [Symbol.asyncDispose]: () => Bun.file(path).delete() };
}
