import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Architecture } from "../../../.ci/architectures.ts";
import { build } from "../../../.ci/build.ts";
import { version } from "../../../package.json" with { type: "json" };
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { Collector } from "../../services/support/collector.ts";
import { fixture } from "../../support/images.ts";
import { BINARY } from "../../support/program.ts";
import { runOrThrow } from "../../../.ci/packages.ts";

const HERE: Architecture = process.arch === "arm64" ? "arm64" : "x64";
const OTHER: Architecture = HERE === "x64" ? "arm64" : "x64";

/** `e_machine` of an ELF file, at byte 18. */
const ELF_MACHINE = { x64: 0x3e, arm64: 0xb7 } as const satisfies Record<Architecture, number>;

let binary: string;
let directory: string;

beforeAll(async () => {
  binary = BINARY ?? (await build(HERE));
  directory = await mkdtemp(join(tmpdir(), "slipway-binary-"));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** Starts the server in an empty directory, without this process's environment. */
async function serve(variables: Record<string, string>) {
  const child = Bun.spawn([binary, "--port", "0", "--log-format", "json"], {
    cwd: directory,
    env: variables,
    stdio: ["ignore", "inherit", "pipe"],
  });
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let log = "";
  for (;;) {
    const url = /"url":"([^"]+)"/.exec(log)?.[1];
    if (url !== undefined) return { child, url };
    const { done, value } = await reader.read();
    if (done) throw new Error(`The server ended: ${log}`);
    log += value;
  }
}

test("slipway --version and --help work in an empty directory", async () => {
  const run = (flag: string): Promise<string> => runOrThrow(["env", "-i", "-C", directory, binary, flag]);
  expect(await run("--version")).toBe(`slipway ${version}\n`);
  expect(await run("--help")).toContain("Usage: slipway");
  expect(await readdir(directory)).toEqual([]);
});

test("slipway serves /v1, /swagger and a call, exports its spans, and exits with 0 at SIGTERM", async () => {
  const { host } = await acquireEngine();
  await using collector = new Collector();
  const { child, url } = await serve({ DOCKER_HOST: host, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
  const created = await fetch(`${url}/v1/functions`, {
    method: "POST",
    body: JSON.stringify({ name: "chaos", image: await fixture("static") }),
  });
  expect(created.status).toBe(201);
  const called = await fetch(`${url}/v1/functions/chaos/invoke`, { method: "POST", body: '{"do": "echo"}' });
  expect(await called.text()).toBe('{"do": "echo"}');
  expect((await fetch(`${url}/swagger`)).headers.get("content-type")).toContain("text/html");
  expect(await (await fetch(`${url}/docs/functions`)).text()).toContain("<h1>Functions</h1>");
  expect(await (await fetch(`${url}/docs/search.json`)).json()).toBeArray();
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
  // At the latest when it stops.
  expect(collector.spans.map(({ name }) => name).toSorted()).toEqual(["chaos", "queue", "run", "start"]);
});

test.each([
  ["swagger-ui.js", "swagger-ui-bundle.js"],
  ["swagger-ui.css", "swagger-ui.css"],
])("slipway serves /swagger/%s to clients with and without zstd", async (name, file) => {
  const { child, url } = await serve({ DOCKER_HOST: `unix://${directory}/none.sock` });
  const original = await Bun.file(join(import.meta.dir, "../../../node_modules/swagger-ui-dist", file)).text();
  for (const [accepted, encoding] of [
    ["gzip, zstd", "zstd"],
    ["gzip, zstd;q=0", null],
    ["gzip", null],
  ] as const) {
    const reply = await fetch(`${url}/swagger/${name}`, { headers: { "accept-encoding": accepted } });
    expect(reply.headers.get("content-encoding")).toBe(encoding);
    expect(await reply.text()).toBe(original);
  }
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});

test("slipway answers a request with a head of 60 KiB, and 431 to one of 70 KiB", async () => {
  const { child, url } = await serve({ DOCKER_HOST: `unix://${directory}/none.sock` });
  const status = async (kib: number) =>
    (await fetch(`${url}/healthz`, { headers: { "x-long": "x".repeat(kib * 1024) } })).status;
  expect([await status(60), await status(70)]).toEqual([200, 431]);
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});

test("slipway starts without an engine and reports that it is not ready", async () => {
  const { child, url } = await serve({ DOCKER_HOST: `unix://${directory}/none.sock` });
  const ready = await fetch(`${url}/readyz`);
  expect(ready.status).toBe(503);
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});

test("bun run build compiles for the other architecture, without native parts of this one", async () => {
  const bytes = await Bun.file(await build(OTHER))
    .slice(0, 20)
    .bytes();
  expect(bytes[18]).toBe(ELF_MACHINE[OTHER]);
});
