import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { fixture } from "../../support/images.ts";
import { expectWithin } from "../../support/pace.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";

// B5: no single request stops the event loop. A process of its own asks for /healthz meanwhile.

/** The longest time that /healthz may take on a quiet machine, in milliseconds. */
const LIMIT_MS = 100;
/** Other work of the machine may delay one answer; the work of a request delays one each time. */
const TRIES = 3;

let server: SpawnedServer;
let image: string;
let probe: Bun.Subprocess<"pipe", "pipe", "inherit">;
let answers: AsyncIterator<string>;

beforeAll(async () => {
  server = await SpawnedServer.start();
  image = await fixture("static");
  const program = join(import.meta.dir, "health-probe.ts");
  probe = Bun.spawn([process.execPath, program, server.url], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
  answers = lines(probe.stdout);
  await longest();
  // The first body of each kind has its check compiled.
  await post("/v1/functions", "{}");
  await post("/v1/apply", "version: 1");
});

afterAll(async () => {
  probe.kill();
  await probe.exited;
  await server[Symbol.asyncDispose]();
});

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}

/** Returns the longest time that /healthz took since the last call, in milliseconds. */
async function longest(): Promise<number> {
  await probe.stdin.write("\n");
  await probe.stdin.flush();
  return Number((await answers.next()).value);
}

function post(path: string, body: string): Promise<Response> {
  return fetch(server.url + path, { method: "POST", body });
}

const json = (value: unknown) => JSON.stringify(value);
const numbered = <T>(count: number, value: (n: number) => T) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`f${n}`, value(n)]));
const manifest = (count: number) =>
  `version: 1\nfunctions:\n${Array.from({ length: count }, (_, n) => `  fn-${n}: {image: "${image}"}\n`).join("")}`;

/** A name and a request of each kind, with the status of its answer. */
const REQUESTS: readonly [string, string, () => string, number][] = [
  ["a field name of 5 MB", "/v1/functions", () => json({ ["x".repeat(5e6)]: 1 }), 413],
  ["a field name of 1 MB", "/v1/functions", () => json({ ["x".repeat(1e6)]: 1 }), 400],
  ["a nested field name of 1 MB", "/v1/functions", () => json({ image: "a", retry: { ["x".repeat(1e6)]: 1 } }), 400],
  ["a text of 1 MB", "/v1/functions", () => json({ image: "x".repeat(1e6) }), 400],
  ["15,000 unknown fields", "/v1/functions", () => json(numbered(15_000, () => 1)), 400],
  ["15,000 labels", "/v1/functions", () => json({ image: "a", labels: numbered(15_000, () => "1") }), 400],
  ["a list of 15,000", "/v1/functions", () => json({ image: "a", command: Array(15_000).fill("a") }), 400],
  ["a list of 9,000 scopes", "/v1/keys", () => json({ name: "a", scopes: Array(9_000).fill("read") }), 400],
  ["a manifest with a field name of 5 MB", "/v1/apply", () => json({ version: 1, ["x".repeat(5e6)]: 1 }), 400],
  [
    "90,000 variables of a function",
    "/v1/apply",
    () => json({ version: 1, functions: { a: { image: "a", environment: numbered(90_000, () => "1") } } }),
    400,
  ],
  [
    "90,000 fields of a manifest",
    "/v1/apply",
    () => Array.from({ length: 80_000 }, (_, n) => `k${n}: 1`).join("\n"),
    400,
  ],
  ["YAML of 1 MiB that is wrong at its end", "/v1/apply", () => `${manifest(9_000)}  x: [\n`, 400],
  ["a YAML text of 500,000 lines", "/v1/apply", () => `version: '${"a\n".repeat(500_000)}'`, 400],
  ["500,000 unclosed braces", "/v1/apply", () => `version: '${"${".repeat(500_000)}'`, 400],
  ["200,000 variables in one text", "/v1/apply", () => `version: '${"${A}".repeat(200_000)}'`, 400],
];

describe("/healthz answers in time during", () => {
  test.each(REQUESTS)("%s", async (_name, path, body, status) => {
    const sent = body();
    const times: number[] = [];
    while (times.length < TRIES && Math.min(...times) > LIMIT_MS) {
      await longest();
      const answer = await post(path, sent);
      await answer.arrayBuffer();
      expect(answer.status).toBe(status);
      times.push(await longest());
    }
    await expectWithin(Math.min(...times), LIMIT_MS);
  });

  test("a GET with 30,000 segments", async () => {
    await longest();
    expect((await fetch(`${server.url}/v1${"/a".repeat(30_000)}`)).status).toBe(404);
    await expectWithin(await longest(), LIMIT_MS);
  });
});

/** Functions with a route each, so many that one go would take several times the limit; `value` makes them differ. */
const many = (value: string) => {
  const names = Array.from({ length: 1_000 }, (_, n) => `many-${n}`);
  const functions = names.map((name) => `  ${name}: {image: "${image}", environment: {VALUE: "${value}"}}\n`);
  const routes = names.map((name) => `  /${name}: {function: ${name}}\n`);
  return `version: 1\nfunctions:\n${functions.join("")}routes:\n${routes.join("")}`;
};

describe("/healthz answers in time with 1,000 functions and routes during", () => {
  const during = async (request: (attempt: number) => Promise<Response>) => {
    const times: number[] = [];
    while (times.length < TRIES && Math.min(...times) > LIMIT_MS) {
      await longest();
      const answer = await request(times.length);
      await answer.arrayBuffer();
      expect(answer.status).toBe(200);
      times.push(await longest());
    }
    await expectWithin(Math.min(...times), LIMIT_MS);
  };

  test("an apply of all", () => during((attempt) => post("/v1/apply", many(`v${attempt}`))), 300_000);

  test.each(["/v1/functions", "/v1/functions?limit=500", "/v1/routes", "/v1/export", "/metrics", "/v1/audit"])(
    "GET %s",
    (path) => during(() => fetch(server.url + path)),
  );

  test("GET /v1/export as JSON", () =>
    during(() => fetch(`${server.url}/v1/export`, { headers: { accept: "application/json" } })));

  test("an apply that deletes all", () => during(() => post("/v1/apply?prune=true", "version: 1")), 300_000);
});
