import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isObject, type Json } from "../../../lib/http/openapi/schema.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { OpenApiDocument, type Operation } from "../support/openapi-document.ts";
import { hostileHeaders, type Manner, manner, sendHostile } from "../support/hostile-client.ts";
import { exchange, parseReply, type RawReply } from "../support/raw-request.ts";

/** `FUZZ=full` is the long run of `lib/docs/contributing.md`. Each run has requests of its own. */
const REQUESTS = process.env["FUZZ"] === "full" ? 50_000 : 2_000;
const RAW_REQUESTS = REQUESTS / 4;
/** A request takes 3 ms of the processor: the limit is only for one that hangs. */
const TIMEOUT_MS = Math.max(600_000, 100 * REQUESTS);

/** Texts that no answer may contain: paths of this machine, SQL, stacks. */
const INSIDE = [tmpdir(), import.meta.dir, "SQLITE", "select ", "node_modules", ".ts:"];

let directory: string;
let server: TestServer;
let locked: TestServer;
let document: OpenApiDocument;
/** Their answers end when the client leaves. */
const ENDLESS: ReadonlySet<string> = new Set(["/v1/functions/{id}/logs", "/system/logs"]);

let operations: readonly Operation[];

// The engine is away, so that these requests do not pull a thousand images.
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-fuzz-"));
  {
    await using before = await TestServer.start({ DATA_PATH: directory });
    const { id } = await before.createFunction(await fixture("static"), { name: "known" });
    await before.createRoute("/known", id);
  }
  const away = { DOCKER_HOST: "unix:///nowhere/docker.sock" };
  server = await TestServer.start({ DATA_PATH: directory, MAX_REQUEST_BYTES: "1KiB", ...away });
  locked = await TestServer.start({ API_KEY: "nobody-knows", ...away });
  document = await OpenApiDocument.of(server.url);
  operations = document.operations().filter(({ path }) => !ENDLESS.has(path));
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await locked[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

interface FuzzedRequest {
  readonly operation: Operation;
  readonly url: string;
  readonly body: Uint8Array | string | undefined;
  readonly headers: Record<string, string>;
  /** The way in which a hostile client sends it, with further headers; null for `fetch`. */
  readonly hostile: { readonly how: Manner; readonly more: readonly (readonly [string, string])[] } | null;
}

const text = fc.oneof(
  fc.string(),
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme", maxLength: 300 }),
  fc.constantFrom(
    "",
    "known",
    "unknown",
    "__proto__",
    "constructor",
    "..",
    "%",
    "/",
    "\0",
    "null",
    "-1",
    "1e9",
    "/known",
  ),
);

/** A value for a schema: the example, one of its choices, or anything at all. */
function valueFor(given: Json | undefined): fc.Arbitrary<unknown> {
  const schema = document.object(given);
  const example = schema["example"] === undefined ? [] : [fc.constant<unknown>(schema["example"])];
  const choices = Array.isArray(schema["enum"]) ? [fc.constantFrom<unknown>(...schema["enum"])] : [];
  return fc.oneof(...example, ...example, ...choices, text, fc.integer(), fc.double(), fc.jsonValue({ maxDepth: 3 }));
}

function bodyFor(operation: Operation): fc.Arbitrary<FuzzedRequest["body"]> {
  const schema = document.object(document.media(operation.operation["requestBody"])?.["schema"]);
  const properties = document.object(schema["properties"]);
  const known = Object.fromEntries(Object.entries(properties).map(([name, property]) => [name, valueFor(property)]));
  const record = fc.record(known, { requiredKeys: [] });
  const odd = fc.dictionary(text, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 });
  return fc.oneof(
    { weight: 6, arbitrary: record.map((body) => JSON.stringify(body)) },
    { weight: 2, arbitrary: fc.tuple(record, odd).map(([body, more]) => JSON.stringify({ ...body, ...more })) },
    { weight: 1, arbitrary: fc.json() },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 2_000 }) },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
}

const headers = fc.record(
  {
    "Content-Type": fc.constantFrom("application/json", "text/plain", "multipart/form-data", "x", ""),
    Authorization: fc.constantFrom("Bearer x", "Bearer ", "Basic eDp4", ""),
    Origin: fc.constantFrom("https://evil.example", "null", ""),
    Host: fc.constantFrom("evil.example", "h", "localhost:1"),
    Accept: fc.constantFrom("text/html", "*/*;q=x"),
    "Content-Encoding": fc.constantFrom("gzip", "identity", "x".repeat(200)),
    "Sec-Fetch-Site": fc.constantFrom("cross-site", "none", "x"),
    Range: fc.constant("bytes=0-0"),
    Cookie: fc.constantFrom("a=b", "__proto__=1", "="),
  },
  { requiredKeys: [] },
);

/** Values for the query parameters of an operation. */
function queryOf({ operation }: Operation): Record<string, fc.Arbitrary<unknown>> {
  const parameters = Array.isArray(operation["parameters"]) ? operation["parameters"] : [];
  const entries = parameters.flatMap((parameter) => {
    const { name, in: where, schema, example = "x" } = document.object(parameter);
    if (where !== "query" || typeof name !== "string") return [];
    return [[name, valueFor({ ...document.object(schema), example })] as const];
  });
  return Object.fromEntries(entries);
}

function fuzzed(): fc.Arbitrary<FuzzedRequest> {
  return fc.constantFrom(...operations).chain((operation) => {
    // The only function stays for later requests, and its logs never end.
    const isSpared = operation.method === "DELETE" || operation.path.endsWith("/functions/{id}/logs");
    const id = isSpared ? fc.constantFrom("unknown", "a b") : fc.oneof(fc.constant("known"), text);
    const query = queryOf(operation);
    const known = fc.record(query, { requiredKeys: [] });
    const extra = fc.oneof({ weight: 4, arbitrary: fc.constant({}) }, fc.dictionary(text, text, { maxKeys: 2 }));
    return fc.record({
      operation: fc.constant(operation),
      url: fc.tuple(id, known, extra).map(([part, wanted, more]) => {
        const path = operation.path.replace(/\{\w+\}/, () => encodeURIComponent(segment(part)));
        const pairs = Object.entries({ ...wanted, ...more }).map(([name, value]): [string, string] => [
          name,
          // Not String(): a generated object may refuse to become text.
          typeof value === "string" ? value : JSON.stringify(value),
        ]);
        return pairs.length === 0 ? path : `${path}?${new URLSearchParams(pairs).toString()}`;
      }),
      body: operation.method === "GET" ? fc.constant(undefined) : bodyFor(operation),
      headers: fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, headers),
      hostile: fc.oneof(
        { weight: 7, arbitrary: fc.constant(null) },
        { weight: 1, arbitrary: fc.record({ how: manner, more: hostileHeaders }) },
      ),
    });
  });
}

/** An id that does not change which path of the document it is. */
function segment(id: string): string {
  return id === "" || id === "." || id === ".." ? "x" : id.toWellFormed();
}

/** Sends a request; returns nothing if it was sent in a way that may have no answer. */
async function send({ operation, url, body, headers, hostile }: FuzzedRequest): Promise<RawReply | undefined> {
  const { method } = operation;
  if (hostile === null) {
    const response = await fetch(server.url + url, { method, headers, ...(body !== undefined && { body }) });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }
  const own = Object.entries({ Host: "localhost", ...headers });
  const bytes = body === undefined ? new Uint8Array() : Buffer.from(body);
  return sendHostile(server.url, { method, target: url, headers: [...own, ...hostile.more], body: bytes }, hostile.how);
}

async function check(request: FuzzedRequest): Promise<void> {
  const { operation, url } = request;
  const reply = await send(request);
  if (reply === undefined) return;
  const { status, headers, text } = reply;
  expect(INSIDE.filter((word) => text.includes(word))).toEqual([]);
  expect(headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  expect(status).not.toBe(500);
  const documented = document.object(operation.operation["responses"])[status];
  expect([operation.method, url, status, documented === undefined]).toEqual([operation.method, url, status, false]);
  if (["/metrics", "/v1/export"].includes(new URL(url, server.url).pathname) && status === 200) return;
  // OpenFaaS's clients print errors as they come, and its answers to changes have no body.
  const isPlain = !/json/.test(headers.get("content-type") ?? "");
  if (isPlain && /^\/(?:system|function|async-function)\//.test(operation.path)) return;
  const value: unknown = JSON.parse(text);
  const { schema } = document.media(documented) ?? {};
  expect([url, document.mismatch(schema, value)]).toEqual([url, undefined]);
  if (isObject(value) && value["success"] === false)
    expect(value["request_id"]).toBe(headers.get("x-request-id") ?? "");
}

test(
  "any request made from the document gets an answer that is in the document, and no 500",
  async () => {
    await fc.assert(fc.asyncProperty(fuzzed(), check), { numRuns: REQUESTS });
    expect(server.log.filter((line) => line.includes('"level":"error"'))).toEqual([]);
  },
  TIMEOUT_MS,
);

const target = fc
  .array(
    fc.oneof(
      fc.constantFrom("/", "//", "/..", "/.", "%2e", "%2F", "%00", "%", "\\", ";", "?", "#", "&", "=", ":", "@", "*"),
      fc.constantFrom("v1", "functions", "routes", "r", "swagger", "json", "metrics", "healthz", "known", "invoke"),
      fc.integer({ min: 0x21, max: 0xff }).map((code) => String.fromCharCode(code)),
    ),
    { maxLength: 12 },
  )
  .map((parts) => `/${parts.join("")}`);

test(
  "no path shows what needs a key",
  async () => {
    const method = fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS");
    const property = fc.asyncProperty(method, target, async (verb, path) => {
      const head = `${verb} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}`;
      const { status, headers, text: body } = parseReply(await exchange(locked.url, Buffer.from(head, "latin1")));
      // Bun itself refuses bytes that are not a request.
      if (status === 400 && !headers.has("x-request-id")) return;
      const { pathname } = new URL(`http://localhost${path}`);
      if (status === 200) expect(pathname.replace(/\/$/, "")).toBe("/healthz");
      else expect([401, 404, 405, 400]).toContain(status);
      if (status !== 200)
        expect(JSON.parse(body)).toMatchObject({ success: false, request_id: headers.get("x-request-id") ?? "" });
    });
    await fc.assert(property, { numRuns: RAW_REQUESTS });
  },
  TIMEOUT_MS,
);
