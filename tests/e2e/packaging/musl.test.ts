import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Target } from "../../../.ci/architectures.ts";
import { build } from "../../../.ci/build.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { runOrThrow } from "../../../.ci/packages.ts";
import { inRepository } from "../../../.ci/steps.ts";
import { version } from "../../../package.json" with { type: "json" };
import { fixture } from "../../support/images.ts";
import { inRoot, makeMuslRoot } from "./support/musl-root.ts";

const TARGET: Target = process.arch === "arm64" ? "arm64-musl" : "x64-musl";
/** Compiling takes 10 s, packing 3. */
const BUILD_TIMEOUT_MS = 180_000;

let root: string;
const held = new AsyncDisposableStack();

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "slipway-musl-"));
  held.defer(() => rm(root, { recursive: true, force: true }));
  const binary = await build(TARGET);
  await makeMuslRoot(root, binary);
  const name = `${basename(binary)}.gz`;
  const packed = Bun.gzipSync(await Bun.file(binary).bytes(), { level: 1 });
  const sums = `${new Bun.CryptoHasher("sha256").update(packed).digest("hex")}  ${name}\n`;
  const files = new Map<string, Bun.BodyInit>([
    [`/${name}`, packed],
    ["/SHA256SUMS", sums],
  ]);
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: ({ url }) =>
      new Response(files.get(new URL(url).pathname), { status: files.has(new URL(url).pathname) ? 200 : 404 }),
  });
  held.defer(() => server.stop(true));
  await Bun.write(join(root, "install.sh"), Bun.file(inRepository(".ci/release/install.sh")));
  const install = ["/bin/sh", "/install.sh", "--from", `http://127.0.0.1:${server.port}`];
  const environment = ["env", "-i", "PATH=/bin:/sbin:/usr/sbin:/usr/bin:/usr/local/bin"];
  expect(await runOrThrow([...environment, ...inRoot(root, {}, install)])).toBe(
    `slipway ${version} is installed: /usr/local/bin/slipway\n`,
  );
}, BUILD_TIMEOUT_MS);

afterAll(() => held.disposeAsync());

test("where there is only musl, the install script takes the binary for it, which serves calls and ends with 0", async () => {
  const { socket } = await acquireEngine();
  const image = await fixture("static");
  const command = ["/usr/local/bin/slipway", "serve", "--port", "0", "--data-path", "/data", "--log-format", "json"];
  const child = Bun.spawn(inRoot(root, { "/docker.sock": socket }, command), {
    env: { PATH: process.env["PATH"] ?? "", DOCKER_HOST: "unix:///docker.sock" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    log += text;
    if (log.includes('"url":"')) break;
  }
  const url = /"url":"([^"]+)"/.exec(log)?.[1] ?? "";
  expect(log).toContain('"url":"');
  const post = (path: string, body: unknown) => fetch(url + path, { method: "POST", body: JSON.stringify(body) });
  expect((await post("/v1/functions", { name: "chaos", image })).status).toBe(201);
  expect(await (await post("/v1/functions/chaos/invoke", { do: "echo" })).text()).toBe('{"do":"echo"}');
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});
