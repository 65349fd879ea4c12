import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../../lib/clock.ts";
import { EngineConnection } from "../../../lib/docker/api/connection.ts";
import { removeUnusedCache } from "../../../lib/docker/builds/build-cache.ts";
import { Metrics } from "../../../lib/metrics.ts";
import { baseImage } from "../../../.ci/engine/base-images.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { EngineProxy } from "../../support/engine-proxy.ts";
import { startRegistry } from "../../support/registry/registry.ts";
import { startTokenRegistry } from "../../support/registry/token-registry.ts";
import { TestServer } from "../../support/server.ts";
import { build, removeBuilt, usesBuildKit } from "./support/sent-builds.ts";

const engine: Engine = await acquireEngine();
const isBuildKit = await usesBuildKit(engine.client);

let proxy: EngineProxy;
let server: TestServer;
let base: string;

beforeAll(async () => {
  proxy = await EngineProxy.start(engine.socket);
  server = await TestServer.start({ DOCKER_HOST: proxy.host });
  base = await baseImage(engine.client, "busybox");
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await removeBuilt(engine);
});

const unique = () => crypto.randomUUID();

/** A Dockerfile for BuildKit alone: it keeps a folder from one build to the next, and has files in the Dockerfile itself. */
const modern = (text: string) => `FROM ${base}
RUN --mount=type=cache,target=/kept echo ${text} >> /kept/lines && cp /kept/lines /lines
COPY --chmod=755 <<EOF /answer
#!/bin/sh
cat /lines
EOF
LABEL slipway.contract=stdio
CMD ["/answer"]`;

/** The records of the engine's cache. */
async function cached(): Promise<{ readonly ID: string; readonly CreatedAt: string }[]> {
  const usage = (await engine.client.json("GET", "/system/df?type=build-cache")) as {
    BuildCache: { ID: string; CreatedAt: string }[] | null;
  }; // the engine's own format
  return usage.BuildCache ?? [];
}

/** Waits until the engine's clock, which stamps the records, has gone on since a time. */
async function after(time: number): Promise<number> {
  while (Date.now() <= time + 1) await Bun.sleep(1);
  return Date.now();
}

function withBuildKit() {
  test("a Dockerfile may have cached folders and files in it", async () => {
    const [one, two] = [unique(), unique()];
    await build(server, { Dockerfile: modern(one) });
    const { build: made } = await build(server, { Dockerfile: modern(two) });
    expect([made.error, made.status]).toEqual([null, "succeeded"]);
    const fn = await server.createFunction(made.image ?? "", { name: "modern" });
    expect(await (await server.invoke(fn)).text()).toContain(`${one}\n${two}\n`);
  }, 60_000);

  test("registries that want a token of everybody, or a password, are asked with what the server knows", async () => {
    await using open = await startRegistry();
    await using registry = startTokenRegistry(open.host, { user: "builder", password: "s3cret-passw0rd" });
    const { reference } = await open.pushUnique("team/base:1");
    const image = reference.replace(open.host, registry.host);
    const files = { Dockerfile: `FROM ${image}\nCOPY --from=${image.replace("team", "private")} / /there` };
    await open.pushUnique("private/base:1");
    const refused = await build(server, files);
    expect(refused.build.error).toContain("401 Unauthorized");
    expect(registry.asked).toContain("anonymous team/base");
    const credentials = { username: "builder", password: "s3cret-passw0rd" };
    await server.api("PUT", `/v1/registries/${registry.host}`, credentials);
    const { build: made, output } = await build(server, files, { pull: "true" });
    expect([made.error, made.status]).toEqual([null, "succeeded"]);
    expect(registry.asked).toContain("builder private/base");
    expect(`${output}${refused.output}`).not.toContain("s3cret");
    await server.api("DELETE", `/v1/registries/${registry.host}`);
  }, 60_000);

  test("a proxy that lets no session through leaves the classic builder", async () => {
    proxy.change(({ path }) => (path.startsWith("/session") ? "error" : "pass"));
    const { build: made, output } = await build(server, { Dockerfile: `FROM ${base}\nENV X=${unique()}` });
    proxy.change("pass");
    expect([made.error, made.status]).toEqual([null, "succeeded"]);
    expect(output).toContain("Step 2/2 : ENV X=");
  }, 60_000);

  test("only what was kept of given builds, and not used for long, is removed of the cache", async () => {
    using connection = new EngineConnection({
      address: { socketPath: engine.socket },
      timeout_ms: 10_000,
      clock: systemClock,
      metrics: new Metrics(),
    });
    const run = () => build(server, { Dockerfile: `FROM ${base}\nRUN echo ${unique()} > /x && exit 3` });
    const others = await after(Date.now());
    await run();
    const from = await after(Date.now());
    await run();
    const to = await after(Date.now());
    const made = async (since: number, until: number) =>
      (await cached())
        .filter(({ CreatedAt }) => Date.parse(CreatedAt) >= since && Date.parse(CreatedAt) <= until)
        .map(({ ID }) => ID)
        .toSorted();
    const [theirs, ours] = [await made(others, from - 1), await made(from, to)];
    expect([theirs.length > 0, ours.length > 0]).toEqual([true, true]);
    await removeUnusedCache(connection, [{ from, to }], from);
    expect(await made(from, to)).toEqual(ours);
    await removeUnusedCache(connection, [{ from, to }], await after(Date.now()));
    expect([await made(others, from - 1), await made(from, to)]).toEqual([theirs, []]);
  }, 60_000);
}

function withClassicBuilder() {
  test("a Dockerfile that needs BuildKit fails with that cause", async () => {
    const { build: failed } = await build(server, {
      Dockerfile: `FROM ${base}\nRUN --mount=type=cache,target=/x true`,
    });
    expect([failed.status, failed.reason]).toEqual(["failed", "build_failed"]);
    expect(failed.error).toContain("requires BuildKit");
    expect(failed.error).toContain("Docker 23");
  });
}

if (isBuildKit) describe("where the engine has BuildKit", withBuildKit);
else describe("where the engine has the classic builder", withClassicBuilder);
